#include "sparsexmc/event.h"

#include <utility>

#include "device/visit_device.h"

namespace sparsexmc {

Event::Event(Device device, Stream stream)
    : hooks_(visit_device(device, [&](auto tag) { return kernels::device_memory(tag, device); })),
      mark_(hooks_.record ? hooks_.record(stream, hooks_.user) : nullptr) {}

Event::Event(Event&& other) noexcept : hooks_(other.hooks_), mark_(std::exchange(other.mark_, nullptr)) {}

Event& Event::operator=(Event&& other) noexcept {
  std::swap(hooks_, other.hooks_);
  std::swap(mark_, other.mark_);
  return *this;
}

Event::~Event() {
  if (mark_ != nullptr) hooks_.destroy(mark_, hooks_.user);
}

bool Event::passed() const { return mark_ == nullptr || hooks_.finished(mark_, hooks_.user); }

void Event::hold_back(Stream stream) const {
  if (mark_ != nullptr) hooks_.wait(stream, mark_, hooks_.user);
}

}  // namespace sparsexmc

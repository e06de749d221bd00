#include "layers/buffers.h"

#include <algorithm>
#include <utility>

#include "device/visit_device.h"

namespace sparsexmc {

Buffers::Buffers(Context& context, const MemoryPlan& plan) : context_(&context) {
  for (const MemoryEntry& entry : plan.entries) grow(entry.name, entry.bytes);
}

Buffers::~Buffers() {
  for (auto& [name, staging] : staging_)
    for (void* event : staging.events)
      if (event != nullptr) visit_device(context_->device(), [&](auto tag) { kernels::destroy_event(tag, event); });
}

void* Buffers::grow(const std::string& name, size_t bytes) {
  Allocation& block = blocks_[name];
  if (block.bytes() < bytes) block = context_->pool().allocate(name, bytes, context_->own_stream());
  return block.as<void>();
}

void* Buffers::stage(const std::string& name, size_t bytes) {
  if (context_->device().kind == DeviceKind::cpu) return grow(name, bytes);
  Staging& staging = staging_[name];
  staging.current ^= 1;
  if (void*& event = staging.events[staging.current]; event != nullptr)
    visit_device(context_->device(), [&](auto tag) {
      kernels::wait_for_event(tag, event);
      kernels::destroy_event(tag, std::exchange(event, nullptr));
    });
  Allocation& block = staging.blocks[staging.current];
  // At once as large as what it feeds: page-locking costs far more than a copy.
  if (block.bytes() < bytes) block = context_->staging().allocate(name, std::max(bytes, blocks_[name].bytes()));
  return block.as<void>();
}

void* Buffers::send(const std::string& name, const void* data, size_t bytes) {
  if (context_->device().kind == DeviceKind::cpu) return const_cast<void*>(data);
  void* block = grow(name, std::max<size_t>(bytes, 1));
  Staging& staging = staging_[name];
  visit_device(context_->device(), [&](auto tag) {
    if (bytes > 0) kernels::copy_to_device(tag, *context_, block, data, bytes);
    if (void*& event = staging.events[staging.current]; event != nullptr)
      kernels::destroy_event(tag, std::exchange(event, nullptr));
    staging.events[staging.current] = kernels::record_event(tag, *context_);
  });
  return block;
}

}  // namespace sparsexmc

#include "sparsexmc/context.h"

#include "device/device_guard.h"
#include "sparsexmc/error.h"

namespace sparsexmc {
namespace {

/// Before anything else touches the device.
Device usable(Device device) { return Device::parse(device.name()); }

}  // namespace

Context::Context(Device device, int num_threads, size_t memory_limit)
    : device_(usable(device)),
      threads_(num_threads),
      own_stream_(visit_device(device, [&](auto tag) { return kernels::create_stream(tag, device); })),
      stream_(own_stream_),
      pool_(visit_device(device, [&](auto tag) { return kernels::device_memory(tag, device); }), memory_limit),
      staging_(visit_device(device, [&](auto tag) { return kernels::staging_memory(tag, device); })),
      host_pool_(host_memory()) {}

Context::~Context() {
  pool_.trim();
  visit_device(device_, [&](auto tag) { kernels::destroy_stream(tag, own_stream_); });
}

void Context::set_stream(Stream stream) {
  if (stream.handle == stream_.handle) return;
  const DeviceGuard guard(device_);
  if (visit_device(device_, [&](auto tag) { return kernels::is_captured(tag, stream); }))
    throw ArgumentError(
        "stream: it is being captured into a CUDA graph, but a step decides on the host what it runs; leave the "
        "capture "
        "or choose another stream");
  const Stream before = stream_;
  stream_ = stream;
  visit_device(device_, [&](auto tag) { kernels::wait_for_stream(tag, *this, before); });
}

}  // namespace sparsexmc

#include "sparsexmc/context.h"

#include "sparsexmc/error.h"

namespace sparsexmc {
namespace {

MemorySource memory_of(Device device) {
  if (device.kind == DeviceKind::cpu) return host_memory();
  throw DeviceError("device is \"" + device.name() + "\": " + cuda_unavailable_reason() + "; use device=\"cpu\"");
}

}  // namespace

Context::Context(Device device, int num_threads, size_t memory_limit)
    : device_(device), pool_(memory_of(device), memory_limit), threads_(num_threads) {}

}  // namespace sparsexmc

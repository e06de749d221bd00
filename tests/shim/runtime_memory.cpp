#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <map>
#include <mutex>

#include "runtime_state.h"

namespace {

using sparsexmc::shim::report;

/// Everything that was allocated and not yet freed, device memory and pinned host memory.
class Memory {
 public:
  cudaError_t allocate(void** pointer, size_t bytes, bool device) {
    if (!pointer) return cudaErrorInvalidValue;
    *pointer = nullptr;
    if (bytes == 0) return cudaSuccess;
    const std::lock_guard lock(mutex_);
    if (device && bytes > capacity() - std::min(in_use_, capacity())) return cudaErrorMemoryAllocation;
    if (posix_memalign(pointer, 256, bytes) != 0) return cudaErrorMemoryAllocation;
    std::memset(*pointer, 0xFF, bytes);
    blocks_[static_cast<char*>(*pointer)] = {bytes, device};
    if (device) in_use_ += bytes;
    return cudaSuccess;
  }

  cudaError_t release(void* pointer, bool device) {
    if (!pointer) return cudaSuccess;
    const std::lock_guard lock(mutex_);
    const auto found = blocks_.find(static_cast<char*>(pointer));
    if (found == blocks_.end() || found->second.device != device) return cudaErrorInvalidValue;
    if (device) in_use_ -= found->second.bytes;
    blocks_.erase(found);
    std::free(pointer);
    return cudaSuccess;
  }

  cudaMemoryType type_of(const void* pointer, size_t bytes = 1) {
    const char* begin = static_cast<const char*>(pointer);
    const std::lock_guard lock(mutex_);
    auto next = blocks_.upper_bound(const_cast<char*>(begin));
    if (next == blocks_.begin()) return cudaMemoryTypeUnregistered;
    const auto& [start, block] = *--next;
    if (begin + bytes > start + block.bytes) return cudaMemoryTypeUnregistered;
    return block.device ? cudaMemoryTypeDevice : cudaMemoryTypeHost;
  }

  size_t in_use() {
    const std::lock_guard lock(mutex_);
    return in_use_;
  }

  static size_t capacity() {
    return static_cast<size_t>(sparsexmc::shim::setting("SPARSEXMC_SHIM_MEMORY", std::numeric_limits<int64_t>::max()));
  }

 private:
  struct Block {
    size_t bytes;
    bool device;
  };
  std::mutex mutex_;
  std::map<char*, Block> blocks_;
  size_t in_use_ = 0;
};

Memory& memory() {
  static Memory* memory = new Memory;  // never destroyed: pools of static objects may free later
  return *memory;
}

/// A copy that names a direction must find device memory on that side, as on a card.
bool sides_fit(const void* target, const void* source, size_t bytes, cudaMemcpyKind kind) {
  const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  const bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  if (kind == cudaMemcpyDefault) return true;
  return (memory().type_of(target, bytes) == cudaMemoryTypeDevice) == to_device &&
         (memory().type_of(source, bytes) == cudaMemoryTypeDevice) == from_device;
}

}  // namespace

cudaError_t cudaMalloc(void** pointer, size_t bytes) { return report(memory().allocate(pointer, bytes, true)); }
cudaError_t cudaFree(void* pointer) { return report(memory().release(pointer, true)); }
cudaError_t cudaMallocAsync(void** pointer, size_t bytes, cudaStream_t) { return cudaMalloc(pointer, bytes); }
cudaError_t cudaFreeAsync(void* pointer, cudaStream_t) { return cudaFree(pointer); }
cudaError_t cudaMallocHost(void** pointer, size_t bytes) { return report(memory().allocate(pointer, bytes, false)); }
cudaError_t cudaHostAlloc(void** pointer, size_t bytes, unsigned) { return cudaMallocHost(pointer, bytes); }
cudaError_t cudaFreeHost(void* pointer) { return report(memory().release(pointer, false)); }

cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  *total = Memory::capacity();
  *free = *total - std::min(memory().in_use(), *total);
  return cudaSuccess;
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* pointer) {
  const cudaMemoryType type = memory().type_of(pointer);
  void* known = type == cudaMemoryTypeUnregistered ? nullptr : const_cast<void*>(pointer);
  *attributes = {type, 0, known, type == cudaMemoryTypeHost ? known : nullptr};
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* target, const void* source, size_t bytes, cudaMemcpyKind kind, cudaStream_t) {
  if (bytes == 0) return cudaSuccess;
  if (!target || !source || !sides_fit(target, source, bytes, kind)) return report(cudaErrorInvalidValue);
  std::memcpy(target, source, bytes);
  return cudaSuccess;
}

cudaError_t cudaMemcpy(void* target, const void* source, size_t bytes, cudaMemcpyKind kind) {
  return cudaMemcpyAsync(target, source, bytes, kind);
}

cudaError_t cudaMemcpy2DAsync(void* target, size_t target_pitch, const void* source, size_t source_pitch, size_t width,
                              size_t height, cudaMemcpyKind kind, cudaStream_t stream) {
  if (width > target_pitch || width > source_pitch) return report(cudaErrorInvalidValue);
  for (size_t row = 0; row < height; ++row) {
    const cudaError_t error =
        cudaMemcpyAsync(static_cast<char*>(target) + row * target_pitch,
                        static_cast<const char*>(source) + row * source_pitch, width, kind, stream);
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void* target, int value, size_t bytes, cudaStream_t) {
  if (bytes == 0) return cudaSuccess;
  if (memory().type_of(target, bytes) == cudaMemoryTypeUnregistered) return report(cudaErrorInvalidValue);
  std::memset(target, value, bytes);
  return cudaSuccess;
}

cudaError_t cudaMemset(void* target, int value, size_t bytes) { return cudaMemsetAsync(target, value, bytes); }

int64_t sparsexmc_shim_memory() { return static_cast<int64_t>(memory().in_use()); }

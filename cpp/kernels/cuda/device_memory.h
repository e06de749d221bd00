// Hooks of the memory pools (see MemorySource): device memory and page-locked host memory. Host code; nothing throws,
// so that destructors may run on a device that has failed, or after the runtime was shut down.
#pragma once

#include "device_compat.h"
#include "sparsexmc/memory_pool.h"

namespace sparsexmc::cuda {

/// Makes a device the thread's current one for the length of a scope.
class CurrentDevice {
 public:
  explicit CurrentDevice(int device) noexcept {
    if (cudaGetDevice(&previous_) == cudaSuccess && previous_ != device)
      changed_ = cudaSetDevice(device) == cudaSuccess;
  }
  ~CurrentDevice() {
    if (changed_) cudaSetDevice(previous_);
    cudaGetLastError();  // nobody else is to find our errors
  }
  CurrentDevice(const CurrentDevice&) = delete;
  CurrentDevice& operator=(const CurrentDevice&) = delete;

 private:
  int previous_ = 0;
  bool changed_ = false;
};

namespace memory {

inline int device_of(const void* user) { return static_cast<int>(reinterpret_cast<intptr_t>(user)); }

inline void* allocate_on_device(size_t bytes, void* user) {
  const CurrentDevice current(device_of(user));
  int has_pools = 0;
  cudaDeviceGetAttribute(&has_pools, cudaDevAttrMemoryPoolsSupported, device_of(user));
  void* data = nullptr;
  // The device's own pool shares what is free with other libraries of the process. The block is ready on every stream
  // once the default one has come to it.
  const cudaError_t error = has_pools != 0 ? cudaMallocAsync(&data, bytes, nullptr) : cudaMalloc(&data, bytes);
  if (error != cudaSuccess || (has_pools != 0 && cudaStreamSynchronize(nullptr) != cudaSuccess)) return nullptr;
  return data;
}

inline void release_on_device(void* data, size_t, void* user) {
  const CurrentDevice current(device_of(user));
  cudaDeviceSynchronize();  // cudaFree does not wait for users of a block from cudaMallocAsync
  cudaFree(data);
}

inline void* allocate_staging(size_t bytes, void* user) {
  const CurrentDevice current(device_of(user));
  void* data = nullptr;
  return cudaMallocHost(&data, bytes) == cudaSuccess ? data : nullptr;
}

inline void release_staging(void* data, size_t, void* user) {
  const CurrentDevice current(device_of(user));
  cudaDeviceSynchronize();
  cudaFreeHost(data);
}

inline void* record(Stream stream, void* user) {
  const CurrentDevice current(device_of(user));
  cudaEvent_t event = nullptr;
  if (cudaEventCreateWithFlags(&event, cudaEventDisableTiming) != cudaSuccess) return nullptr;
  if (cudaEventRecord(event, static_cast<cudaStream_t>(stream.handle)) == cudaSuccess) return event;
  cudaEventDestroy(event);
  return nullptr;
}

inline bool finished(void* event, void* user) {
  const CurrentDevice current(device_of(user));
  return cudaEventQuery(static_cast<cudaEvent_t>(event)) != cudaErrorNotReady;
}

inline void wait(Stream stream, void* event, void* user) {
  const CurrentDevice current(device_of(user));
  cudaStreamWaitEvent(static_cast<cudaStream_t>(stream.handle), static_cast<cudaEvent_t>(event), 0);
}

inline void destroy(void* event, void* user) {
  const CurrentDevice current(device_of(user));
  cudaEventDestroy(static_cast<cudaEvent_t>(event));
}

}  // namespace memory

inline MemorySource device_source(int device) {
  return {memory::allocate_on_device,
          memory::release_on_device,
          memory::record,
          memory::finished,
          memory::wait,
          memory::destroy,
          reinterpret_cast<void*>(intptr_t{device})};
}

/// Without events: whoever gives a block back has waited for the copies from and to it.
inline MemorySource staging_source(int device) {
  return {memory::allocate_staging,
          memory::release_staging,
          nullptr,
          nullptr,
          nullptr,
          nullptr,
          reinterpret_cast<void*>(intptr_t{device})};
}

}  // namespace sparsexmc::cuda

// The part of the CUDA runtime API that the library uses, under its own names, on one pretended card whose work is done
// by the calling thread at once. Device memory is heap memory of the exact size, so that ASan sees overruns.
//
// Environment, read at every query:
//   SPARSEXMC_SHIM_DEVICES          number of cards (1)
//   SPARSEXMC_SHIM_MULTIPROCESSORS  of a card (5: small and odd)
//   SPARSEXMC_SHIM_SHARED           bytes of shared memory that a block may ask for (232448)
//   SPARSEXMC_SHIM_CLUSTER          largest cluster (8); 1: a card from before clusters
//   SPARSEXMC_SHIM_MEMORY           bytes of a card (unlimited)
//   SPARSEXMC_SHIM_CAPTURING        1: every stream is being captured (0)
// and at the first launch: SPARSEXMC_SHIM_ORDER, SPARSEXMC_SHIM_FAIL_LAUNCH (see the functions at the end).
#pragma once

#include <cstddef>
#include <cstdint>

#include "intrinsics.h"

enum cudaError_t : int {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorInvalidConfiguration = 9,
  cudaErrorInvalidMemcpyDirection = 21,
  cudaErrorInsufficientDriver = 35,
  cudaErrorNoDevice = 100,
  cudaErrorInvalidDevice = 101,
  cudaErrorInvalidResourceHandle = 400,
  cudaErrorNotReady = 600,
  cudaErrorLaunchFailure = 719,
  cudaErrorNotSupported = 801,
  cudaErrorStreamCaptureImplicit = 906,
};
const char* cudaGetErrorName(cudaError_t error);
const char* cudaGetErrorString(cudaError_t error);
/// The last error of this OS thread; the first of the two forgets it.
cudaError_t cudaGetLastError();
cudaError_t cudaPeekAtLastError();

// Devices.
enum cudaDeviceAttr : int {
  cudaDevAttrMultiProcessorCount = 16,
  cudaDevAttrL2CacheSize = 38,
  cudaDevAttrComputeCapabilityMajor = 75,
  cudaDevAttrComputeCapabilityMinor = 76,
  cudaDevAttrMaxSharedMemoryPerMultiprocessor = 81,
  cudaDevAttrMaxSharedMemoryPerBlockOptin = 97,
  cudaDevAttrMemoryPoolsSupported = 115,
  cudaDevAttrClusterLaunch = 120,
};
struct cudaDeviceProp {
  char name[256];
  size_t totalGlobalMem;
  int major, minor, multiProcessorCount;
};
cudaError_t cudaGetDeviceCount(int* count);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaGetDevice(int* device);
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device);
cudaError_t cudaDeviceSynchronize();
cudaError_t cudaDriverGetVersion(int* version);
cudaError_t cudaRuntimeGetVersion(int* version);

// Streams and events: everything is done when the call returns.
struct CUstream_st;
struct CUevent_st;
using cudaStream_t = CUstream_st*;
using cudaEvent_t = CUevent_st*;
inline constexpr unsigned cudaStreamDefault = 0, cudaStreamNonBlocking = 1;
inline constexpr unsigned cudaEventDefault = 0, cudaEventDisableTiming = 2;
#define cudaStreamLegacy (reinterpret_cast<cudaStream_t>(1))
#define cudaStreamPerThread (reinterpret_cast<cudaStream_t>(2))
enum cudaStreamCaptureStatus : int { cudaStreamCaptureStatusNone = 0, cudaStreamCaptureStatusActive = 1 };
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaStreamQuery(cudaStream_t stream);
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags = 0);
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream = nullptr);
cudaError_t cudaEventQuery(cudaEvent_t event);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t stop);
cudaError_t cudaEventDestroy(cudaEvent_t event);

// Memory. New memory is filled with 0xFF (NaN).
enum cudaMemcpyKind : int {
  cudaMemcpyHostToHost,
  cudaMemcpyHostToDevice,
  cudaMemcpyDeviceToHost,
  cudaMemcpyDeviceToDevice,
  cudaMemcpyDefault
};
enum cudaMemoryType : int {
  cudaMemoryTypeUnregistered,
  cudaMemoryTypeHost,
  cudaMemoryTypeDevice,
  cudaMemoryTypeManaged
};
struct cudaPointerAttributes {
  cudaMemoryType type;
  int device;
  void* devicePointer;
  void* hostPointer;
};
inline constexpr unsigned cudaHostAllocDefault = 0;
cudaError_t cudaMalloc(void** pointer, size_t bytes);
cudaError_t cudaFree(void* pointer);
cudaError_t cudaMallocAsync(void** pointer, size_t bytes, cudaStream_t stream);
cudaError_t cudaFreeAsync(void* pointer, cudaStream_t stream);
cudaError_t cudaMallocHost(void** pointer, size_t bytes);
cudaError_t cudaHostAlloc(void** pointer, size_t bytes, unsigned flags);
cudaError_t cudaFreeHost(void* pointer);
template <class T>
cudaError_t cudaMalloc(T** pointer, size_t bytes) {
  return cudaMalloc(reinterpret_cast<void**>(pointer), bytes);
}
template <class T>
cudaError_t cudaMallocHost(T** pointer, size_t bytes) {
  return cudaMallocHost(reinterpret_cast<void**>(pointer), bytes);
}
cudaError_t cudaMemGetInfo(size_t* free, size_t* total);
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* pointer);
cudaError_t cudaMemcpy(void* target, const void* source, size_t bytes, cudaMemcpyKind kind);
cudaError_t cudaMemcpyAsync(void* target, const void* source, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream = nullptr);
cudaError_t cudaMemcpy2DAsync(void* target, size_t target_pitch, const void* source, size_t source_pitch, size_t width,
                              size_t height, cudaMemcpyKind kind, cudaStream_t stream = nullptr);
cudaError_t cudaMemset(void* target, int value, size_t bytes);
cudaError_t cudaMemsetAsync(void* target, int value, size_t bytes, cudaStream_t stream = nullptr);

// Launches.
enum cudaFuncAttribute : int {
  cudaFuncAttributeMaxDynamicSharedMemorySize = 8,
  cudaFuncAttributeNonPortableClusterSizeAllowed = 13,
};
enum cudaLaunchAttributeID : int { cudaLaunchAttributeClusterDimension = 4 };
union cudaLaunchAttributeValue {
  struct {
    unsigned x, y, z;
  } clusterDim;
};
struct cudaLaunchAttribute {
  cudaLaunchAttributeID id;
  cudaLaunchAttributeValue val;
};
struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  size_t dynamicSmemBytes = 0;
  cudaStream_t stream = nullptr;
  cudaLaunchAttribute* attrs = nullptr;
  unsigned numAttrs = 0;
};
struct cudaFuncAttributes {
  size_t sharedSizeBytes = 0;  // static
};
template <class F>
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, F* kernel);
template <class F>
cudaError_t cudaFuncSetAttribute(F* kernel, cudaFuncAttribute attribute, int value);
template <class P>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(P), const P& parameters);

namespace sparsexmc::shim {

/// The name that the errors of this OS thread's next launch give to the kernel.
void name_next_launch(const char* name);
/// Sets, for a kernel on the current device, the most dynamic shared memory or whether clusters may be large.
cudaError_t set_attribute(void (*kernel)(), cudaFuncAttribute attribute, int value);
cudaError_t check_and_run(const cudaLaunchConfig_t& config, void (*kernel)(), void (*body)(const void*),
                          const void* parameters);

}  // namespace sparsexmc::shim

template <class F>
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, F*) {
  *attributes = {};
  return cudaSuccess;
}

template <class F>
cudaError_t cudaFuncSetAttribute(F* kernel, cudaFuncAttribute attribute, int value) {
  return sparsexmc::shim::set_attribute(reinterpret_cast<void (*)()>(kernel), attribute, value);
}

template <class P>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(P), const P& parameters) {
  struct Call {
    void (*kernel)(P);
    const P* parameters;
  } call{kernel, &parameters};
  const auto body = [](const void* p) {
    static_cast<const Call*>(p)->kernel(*static_cast<const Call*>(p)->parameters);
  };
  return sparsexmc::shim::check_and_run(*config, reinterpret_cast<void (*)()>(kernel), body, &call);
}

// Control, for tests in any language.
#define SPARSEXMC_SHIM_EXPORT extern "C" __attribute__((visibility("default")))
/// The n-th launch from now on fails with cudaErrorLaunchFailure; 0: none.
SPARSEXMC_SHIM_EXPORT void sparsexmc_shim_fail_launch(int64_t n);
/// Launches of this process so far.
SPARSEXMC_SHIM_EXPORT int64_t sparsexmc_shim_launches();
/// Calls of cudaFuncSetAttribute so far.
SPARSEXMC_SHIM_EXPORT int64_t sparsexmc_shim_attributes_set();
/// "forward", "reverse", "random" or "random:<seed>"; false for anything else.
SPARSEXMC_SHIM_EXPORT bool sparsexmc_shim_set_order(const char* order);
/// Whether events say that they have not passed until somebody waits for them, as on a card with much to do.
SPARSEXMC_SHIM_EXPORT void sparsexmc_shim_delay_events(bool late);
/// Bytes of device memory in use.
SPARSEXMC_SHIM_EXPORT int64_t sparsexmc_shim_memory();

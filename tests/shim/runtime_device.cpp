#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>

#include "runtime_state.h"

namespace {

using sparsexmc::shim::report;
using sparsexmc::shim::setting;
using Clock = std::chrono::steady_clock;

thread_local cudaError_t last_error = cudaSuccess;
thread_local int current_device = 0;
std::atomic<bool> events_are_late = false;

int device_count() { return static_cast<int>(setting("SPARSEXMC_SHIM_DEVICES", 1)); }
int largest_cluster() { return static_cast<int>(setting("SPARSEXMC_SHIM_CLUSTER", 8)); }
int shared_limit() { return static_cast<int>(setting("SPARSEXMC_SHIM_SHARED", 232448)); }

}  // namespace

struct CUstream_st {};
struct CUevent_st {
  Clock::time_point time;
  bool waited_for = false;
};

namespace sparsexmc::shim {

int64_t setting(const char* name, int64_t otherwise) {
  const char* text = std::getenv(name);
  return text && *text ? std::strtoll(text, nullptr, 10) : otherwise;
}

cudaError_t report(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

}  // namespace sparsexmc::shim

cudaError_t cudaPeekAtLastError() { return last_error; }

cudaError_t cudaGetLastError() {
  const cudaError_t error = last_error;
  last_error = cudaSuccess;
  return error;
}

const char* cudaGetErrorName(cudaError_t error) {
#define SPARSEXMC_SHIM_ERROR(name) \
  case name:                       \
    return #name;
  switch (error) {
    SPARSEXMC_SHIM_ERROR(cudaSuccess)
    SPARSEXMC_SHIM_ERROR(cudaErrorInvalidValue)
    SPARSEXMC_SHIM_ERROR(cudaErrorMemoryAllocation)
    SPARSEXMC_SHIM_ERROR(cudaErrorInvalidConfiguration)
    SPARSEXMC_SHIM_ERROR(cudaErrorInvalidMemcpyDirection)
    SPARSEXMC_SHIM_ERROR(cudaErrorInsufficientDriver)
    SPARSEXMC_SHIM_ERROR(cudaErrorNoDevice)
    SPARSEXMC_SHIM_ERROR(cudaErrorInvalidDevice)
    SPARSEXMC_SHIM_ERROR(cudaErrorInvalidResourceHandle)
    SPARSEXMC_SHIM_ERROR(cudaErrorNotReady)
    SPARSEXMC_SHIM_ERROR(cudaErrorLaunchFailure)
    SPARSEXMC_SHIM_ERROR(cudaErrorNotSupported)
    SPARSEXMC_SHIM_ERROR(cudaErrorStreamCaptureImplicit)
  }
#undef SPARSEXMC_SHIM_ERROR
  return "unrecognized error code";
}

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorNoDevice:
      return "no CUDA-capable device is detected";
    case cudaErrorInvalidDevice:
      return "invalid device ordinal";
    case cudaErrorInvalidConfiguration:
      return "invalid configuration argument";
    case cudaErrorLaunchFailure:
      return "unspecified launch failure";
    default:
      return "invalid argument";
  }
}

cudaError_t cudaGetDeviceCount(int* count) {
  *count = device_count();
  return report(*count > 0 ? cudaSuccess : cudaErrorNoDevice);
}

cudaError_t cudaSetDevice(int device) {
  if (device < 0 || device >= device_count()) return report(cudaErrorInvalidDevice);
  current_device = device;
  return cudaSuccess;
}

cudaError_t cudaGetDevice(int* device) {
  *device = current_device;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  if (device < 0 || device >= device_count()) return report(cudaErrorInvalidDevice);
  switch (attribute) {
    case cudaDevAttrMultiProcessorCount:
      *value = static_cast<int>(setting("SPARSEXMC_SHIM_MULTIPROCESSORS", 5));
      return cudaSuccess;
    case cudaDevAttrL2CacheSize:
      *value = 50 << 20;
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMajor:
      *value = largest_cluster() > 1 ? 9 : 8;
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor:
      *value = 0;
      return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
      *value = shared_limit() + 1024;  // what the system keeps of it for a block
      return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = shared_limit();
      return cudaSuccess;
    case cudaDevAttrMemoryPoolsSupported:
      *value = 1;
      return cudaSuccess;
    case cudaDevAttrClusterLaunch:
      *value = largest_cluster() > 1;
      return cudaSuccess;
  }
  return report(cudaErrorInvalidValue);
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (device < 0 || device >= device_count()) return report(cudaErrorInvalidDevice);
  *properties = {};
  std::strcpy(properties->name, "sparsexmc host shim");
  size_t free = 0;
  cudaMemGetInfo(&free, &properties->totalGlobalMem);
  cudaDeviceGetAttribute(&properties->major, cudaDevAttrComputeCapabilityMajor, device);
  return cudaDeviceGetAttribute(&properties->multiProcessorCount, cudaDevAttrMultiProcessorCount, device);
}

cudaError_t cudaDeviceSynchronize() { return cudaSuccess; }

cudaError_t cudaDriverGetVersion(int* version) { return cudaRuntimeGetVersion(version); }
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = new CUstream_st;
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }
cudaError_t cudaStreamQuery(cudaStream_t) { return cudaSuccess; }
cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t event, unsigned) {
  return report(event ? cudaSuccess : cudaErrorInvalidResourceHandle);
}
cudaError_t cudaStreamIsCapturing(cudaStream_t, cudaStreamCaptureStatus* status) {
  *status = setting("SPARSEXMC_SHIM_CAPTURING", 0) != 0 ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
  return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new CUevent_st;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t) {
  if (!event) return report(cudaErrorInvalidResourceHandle);
  *event = {Clock::now()};
  return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  return events_are_late && !event->waited_for ? report(cudaErrorNotReady) : cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  event->waited_for = true;
  return cudaSuccess;
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t stop) {
  *milliseconds = std::chrono::duration<float, std::milli>(stop->time - start->time).count();
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}

void sparsexmc_shim_delay_events(bool late) { events_are_late = late; }

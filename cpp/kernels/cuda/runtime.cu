// CUDA's side of runtime.h, on the raw runtime API.
#include "runtime.h"

#include "device_compat.h"
#include "device_memory.h"
#include "machine_probe.cuh"

namespace sparsexmc::kernels {
namespace {

cudaStream_t stream_of(const Context& context) { return static_cast<cudaStream_t>(context.stream().handle); }
cudaEvent_t event_of(void* event) { return static_cast<cudaEvent_t>(event); }

void copy(Context& context, void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  SPARSEXMC_CUDA_CHECK(cudaMemcpyAsync(to, from, bytes, kind, stream_of(context)));
}

cudaEvent_t event_on(cudaStream_t stream) {
  cudaEvent_t event = nullptr;
  SPARSEXMC_CUDA_CHECK(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
  const cudaError_t error = cudaEventRecord(event, stream);
  if (error != cudaSuccess) cudaEventDestroy(event);
  SPARSEXMC_CUDA_CHECK(error);
  return event;
}

}  // namespace

Machine machine(Cuda, Device device, int) { return cuda::find_machine(device.index); }

int runtime_version(Cuda) {
  int version = 0;
  SPARSEXMC_CUDA_CHECK(cudaRuntimeGetVersion(&version));
  return version;
}

int enter_device(Cuda, Device device) {
  int previous = 0;
  SPARSEXMC_CUDA_CHECK(cudaGetDevice(&previous));
  if (previous != device.index) SPARSEXMC_CUDA_CHECK(cudaSetDevice(device.index));
  return previous;
}
void leave_device(Cuda, int previous) noexcept {
  int current = previous;
  if (cudaGetDevice(&current) == cudaSuccess && current != previous) cudaSetDevice(previous);
  cudaGetLastError();
}

Stream create_stream(Cuda, Device device) {
  const cuda::CurrentDevice current(device.index);
  cudaStream_t stream = nullptr;
  SPARSEXMC_CUDA_CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  return {stream};
}
void destroy_stream(Cuda, Stream stream) noexcept {
  cudaStreamDestroy(static_cast<cudaStream_t>(stream.handle));
  cudaGetLastError();
}

MemorySource device_memory(Cuda, Device device) { return cuda::device_source(device.index); }
MemorySource staging_memory(Cuda, Device device) { return cuda::staging_source(device.index); }

void copy_to_device(Cuda, Context& context, void* to, const void* from, size_t bytes) {
  copy(context, to, from, bytes, cudaMemcpyHostToDevice);
}
void copy_to_host(Cuda, Context& context, void* to, const void* from, size_t bytes) {
  copy(context, to, from, bytes, cudaMemcpyDeviceToHost);
}
void copy_on_device(Cuda, Context& context, void* to, const void* from, size_t bytes) {
  copy(context, to, from, bytes, cudaMemcpyDeviceToDevice);
}
void fill_zero(Cuda, Context& context, void* to, size_t bytes) {
  SPARSEXMC_CUDA_CHECK(cudaMemsetAsync(to, 0, bytes, stream_of(context)));
}

void read_device(Cuda, Context& context, void* to, const void* from, size_t bytes) {
  copy(context, to, from, bytes, cudaMemcpyDeviceToHost);
  synchronize(Cuda{}, context);
}
void write_device(Cuda, Context& context, void* to, const void* from, size_t bytes) {
  copy(context, to, from, bytes, cudaMemcpyHostToDevice);
  synchronize(Cuda{}, context);
}

void* record_event(Cuda, Context& context) { return event_on(stream_of(context)); }
bool event_passed(Cuda, void* event) {
  const cudaError_t error = cudaEventQuery(event_of(event));
  if (error == cudaErrorNotReady) {
    cudaGetLastError();
    return false;
  }
  SPARSEXMC_CUDA_CHECK(error);
  return true;
}
void wait_for_event(Cuda, void* event) { SPARSEXMC_CUDA_CHECK(cudaEventSynchronize(event_of(event))); }
void destroy_event(Cuda, void* event) noexcept {
  cudaEventDestroy(event_of(event));
  cudaGetLastError();
}
void wait_for_stream(Cuda, Context& context, Stream other) {
  const cudaEvent_t event = event_on(static_cast<cudaStream_t>(other.handle));
  const cudaError_t error = cudaStreamWaitEvent(stream_of(context), event, 0);
  cudaEventDestroy(event);  // its resources live until it has passed
  SPARSEXMC_CUDA_CHECK(error);
}
bool is_captured(Cuda, Stream stream) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  const cudaError_t error = cudaStreamIsCapturing(static_cast<cudaStream_t>(stream.handle), &status);
  if (error == cudaErrorStreamCaptureImplicit) {  // the default stream, while another one is captured
    cudaGetLastError();
    return true;
  }
  SPARSEXMC_CUDA_CHECK(error);
  return status != cudaStreamCaptureStatusNone;
}
void synchronize(Cuda, Context& context) { SPARSEXMC_CUDA_CHECK(cudaStreamSynchronize(stream_of(context))); }

}  // namespace sparsexmc::kernels

// The services of a device besides kernels: memory, copies, events. One overload per device tag; on the CPU most are
// trivial. Where a Context or an event is taken, its device must be the thread's current one (enter_device); what
// destructors call is noexcept, finds its device itself and is silent about one that has failed.
#pragma once

#include <cstddef>
#include <cstdint>

#include "sparsexmc/context.h"
#include "sparsexmc/memory_pool.h"

namespace sparsexmc::kernels {

/// Devices as types: every kernel is an overload on one of these (see visit_device in src/visit_device.h).
struct Cpu {};
struct Cuda {};

/// The device as the sizes of parts and scratch see it.
struct Machine {
  int64_t workers = 1;       // CPU: worker threads; CUDA: multiprocessors
  int64_t shared_bytes = 0;  // CUDA: most shared memory that a block can have
  int64_t clusters[5] = {};  // CUDA: clusters of 1, 2, 4, 8, 16 such blocks that run at once; 0: not possible
};
Machine machine(Cpu, Device device, int num_threads);
Machine machine(Cuda, Device device, int num_threads);

/// Version of the CUDA runtime in this build: 1000 * major + 10 * minor.
int runtime_version(Cuda);

/// Makes `device` the calling thread's current one. @returns the one before, for leave_device()
int enter_device(Cpu, Device device);
int enter_device(Cuda, Device device);
void leave_device(Cpu, int previous) noexcept;
void leave_device(Cuda, int previous) noexcept;

/// A queue of its own, which does not wait for the default stream; null on the CPU.
Stream create_stream(Cpu, Device device);
Stream create_stream(Cuda, Device device);
void destroy_stream(Cpu, Stream stream) noexcept;
void destroy_stream(Cuda, Stream stream) noexcept;

/// Memory of the device, and host memory that copies to and from it may run beside the host (page-locked on CUDA).
MemorySource device_memory(Cpu, Device device);
MemorySource device_memory(Cuda, Device device);
MemorySource staging_memory(Cpu, Device device);
MemorySource staging_memory(Cuda, Device device);

/// In the order of the context's stream. Host memory must come from staging_memory and stay untouched until an event
/// recorded afterwards has passed; the CPU copies at once.
void copy_to_device(Cpu, Context& context, void* to, const void* from, size_t bytes);
void copy_to_device(Cuda, Context& context, void* to, const void* from, size_t bytes);
void copy_to_host(Cpu, Context& context, void* to, const void* from, size_t bytes);
void copy_to_host(Cuda, Context& context, void* to, const void* from, size_t bytes);
void copy_on_device(Cpu, Context& context, void* to, const void* from, size_t bytes);
void copy_on_device(Cuda, Context& context, void* to, const void* from, size_t bytes);
void fill_zero(Cpu, Context& context, void* to, size_t bytes);
void fill_zero(Cuda, Context& context, void* to, size_t bytes);

/// Copies between a device and any host memory; returns when it is done.
void read_device(Cpu, Context& context, void* to, const void* from, size_t bytes);
void read_device(Cuda, Context& context, void* to, const void* from, size_t bytes);
void write_device(Cpu, Context& context, void* to, const void* from, size_t bytes);
void write_device(Cuda, Context& context, void* to, const void* from, size_t bytes);

/// Marks the place in the context's stream; null on the CPU, where everything has run.
void* record_event(Cpu, Context& context);
void* record_event(Cuda, Context& context);
bool event_passed(Cpu, void* event);
bool event_passed(Cuda, void* event);
/// The host waits. @throws DeviceError if work before the event failed
void wait_for_event(Cpu, void* event);
void wait_for_event(Cuda, void* event);
void destroy_event(Cpu, void* event) noexcept;
void destroy_event(Cuda, void* event) noexcept;
/// The context's stream waits for what is now queued on `other` (a stream handle of the same device).
void wait_for_stream(Cpu, Context& context, Stream other);
void wait_for_stream(Cuda, Context& context, Stream other);
/// Whether work queued on the stream is recorded into a graph instead of run. Streams of other libraries may be.
bool is_captured(Cpu, Stream stream);
bool is_captured(Cuda, Stream stream);
/// Waits for the context's stream. @throws DeviceError if its work failed
void synchronize(Cpu, Context& context);
void synchronize(Cuda, Context& context);

}  // namespace sparsexmc::kernels

// The CPU's side of runtime.h: everything has run when a call returns.
#include "runtime.h"

#include <cstring>

namespace sparsexmc::kernels {

Machine machine(Cpu, Device, int num_threads) {
  Machine machine;
  machine.workers = num_threads;
  return machine;
}

int enter_device(Cpu, Device) { return 0; }
void leave_device(Cpu, int) noexcept {}
Stream create_stream(Cpu, Device) { return {}; }
void destroy_stream(Cpu, Stream) noexcept {}

MemorySource device_memory(Cpu, Device) { return host_memory(); }
MemorySource staging_memory(Cpu, Device) { return host_memory(); }

void copy_to_device(Cpu, Context&, void* to, const void* from, size_t bytes) { std::memcpy(to, from, bytes); }
void copy_to_host(Cpu, Context&, void* to, const void* from, size_t bytes) { std::memcpy(to, from, bytes); }
void copy_on_device(Cpu, Context&, void* to, const void* from, size_t bytes) { std::memcpy(to, from, bytes); }
void fill_zero(Cpu, Context&, void* to, size_t bytes) { std::memset(to, 0, bytes); }
void read_device(Cpu, Context&, void* to, const void* from, size_t bytes) { std::memcpy(to, from, bytes); }
void write_device(Cpu, Context&, void* to, const void* from, size_t bytes) { std::memcpy(to, from, bytes); }

void* record_event(Cpu, Context&) { return nullptr; }
bool event_passed(Cpu, void*) { return true; }
void wait_for_event(Cpu, void*) {}
void destroy_event(Cpu, void*) noexcept {}
void wait_for_stream(Cpu, Context&, Stream) {}
bool is_captured(Cpu, Stream) { return false; }
void synchronize(Cpu, Context&) {}

}  // namespace sparsexmc::kernels

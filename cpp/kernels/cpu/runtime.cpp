// The CPU's side of runtime.h: everything has run when a call returns.
#include "runtime.h"

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "sparsexmc/context.h"
#include "sparsexmc/thread_pool.h"

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
/// By all threads: the first touch of new memory takes longer than the zeros.
void fill_zero(Cpu, Context& context, void* to, size_t bytes) {
  constexpr size_t piece = size_t{4} << 20;
  parallel_for(context.threads(), static_cast<int64_t>((bytes + piece - 1) / piece), [&](int64_t item, int) {
    const size_t first = static_cast<size_t>(item) * piece;
    std::memset(static_cast<std::byte*>(to) + first, 0, std::min(piece, bytes - first));
  });
}
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

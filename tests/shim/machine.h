// The pretended multiprocessor: runs one cluster of thread blocks at a time on the calling OS thread, every thread of
// the kernel as a fiber. A fiber runs until it must wait for others, then the next one in the chosen order goes on.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fiber.h"

namespace sparsexmc::shim {

inline constexpr unsigned warp_lanes = 32;
inline constexpr unsigned max_threads = 1024;
inline constexpr unsigned max_cluster = 16;

struct Grid {
  unsigned blocks_x = 1, blocks_y = 1;
  unsigned threads = 1;
  size_t shared = 0;
  unsigned cluster = 1;  // divides blocks_x
};

/// In which order threads, and blocks, take turns. Correct kernels do not notice.
struct Order {
  enum Kind : uint32_t { forward, reverse, random } kind = forward;
  uint32_t seed = 1;
};
/// "forward", "reverse", "random" or "random:<seed>". @throws std::invalid_argument for anything else
Order parse_order(const char* text);
void set_order(Order order);

/// Runs a whole grid; the body is the kernel. @throws std::runtime_error on a deadlock or a forbidden operation; the
/// machine stays usable.
void run_grid(const Grid& grid, void (*body)(const void* parameters), const void* parameters, const char* name);

// What follows is called from inside a kernel.

/// Ends the launch with an error that names the kernel and the thread. printf-style.
[[noreturn]] void fail(const char* format, ...) __attribute__((format(printf, 1, 2)));

void block_barrier();
void warp_barrier(uint32_t mask);

/// Waits until all lanes of the mask have come with the same operation; the last one calls combine, which sees the
/// argument of every lane (pointers into their stacks) and writes the results there.
using Combine = void (*)(void* const* arguments, uint32_t mask);
void warp_collective(uint32_t mask, Combine combine, void* argument, const char* operation);

unsigned char* block_shared();
/// Fails unless [address, address + 16) is aligned and in this block's shared memory.
void check_shared_row(const void* address, const char* operation);

unsigned cluster_rank();
void cluster_arrive();
void cluster_wait();
void* cluster_map(void* shared, unsigned rank);

/// 16 bytes, done at the wait that covers them and not before; the target is poisoned until then. source null: zeros.
void copy_async(void* target, const void* source);
void copy_async_commit();
void copy_async_wait(unsigned groups_left);

}  // namespace sparsexmc::shim

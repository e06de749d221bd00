#include <cstdarg>
#include <cstdio>
#include <cstring>

#include "machine_state.h"

namespace sparsexmc::shim {

namespace {

/// Shared memory of a block that has ended reads as NaN for the rest of the cluster. A loop that does not become
/// memset, which TSan would take for a write of the kernel.
SPARSEXMC_SHIM_HARNESS void spoil_shared(Block& block, size_t bytes) {
  for (size_t i = 0; i < bytes; ++i) {
    block.shared[i] = 0xFF;
    asm volatile("" ::: "memory");
  }
}

SPARSEXMC_SHIM_HARNESS void exit_thread(Machine& m, Thread& me) {
  release(&m.end_token);
  me.exited = true;
  ++m.exited;
  Block& block = *me.warp->block;
  if (++block.exited == m.grid.threads && m.grid.cluster > 1) spoil_shared(block, m.grid.shared);
  go_on(m, me.context, next_thread(m), true);
}

SPARSEXMC_SHIM_HARNESS void thread_main() {
  arrive();
  Machine& m = *this_machine;
  acquire(&m.begin_token);
  m.body(m.parameters);
  exit_thread(m, *m.current);
  __builtin_unreachable();
}

}  // namespace

void Machine::run_cluster(unsigned number, unsigned step) {
  this_machine = this;
  set_up(number, step);
  Thread* first = next_thread(*this);
  go_on(*this, launcher, first, false);
  if (!failed && exited != grid.threads * grid.cluster) {
    failed = true;
    std::snprintf(error, sizeof(error), "%s", describe_deadlock().c_str());
  }
  tear_down();
}

void Machine::set_up(unsigned cluster, unsigned step) {
  const unsigned warps_per_block = (grid.threads + warp_lanes - 1) / warp_lanes;
  const unsigned clusters_x = grid.blocks_x / grid.cluster;
  exited = at_cluster_barrier = cluster_barriers = 0;
  ready_blocks = 0;
  failed = false;
  const size_t threads_per_cluster = size_t{grid.threads} * grid.cluster;
  stacks.reserve(threads_per_cluster);
  // Two sets of fibers in turn: clusters on different fibers have no order for TSan, which so sees races between them.
  // One set for large clusters: TSan has room for 8128 threads.
  const size_t sets = threads_per_cluster > 2048 ? 1 : 2;
  first_fiber = step % sets * threads_per_cluster;
  show_grid(grid, cluster / clusters_x);
  for (unsigned rank = 0; rank < grid.cluster; ++rank) {
    Block& block = blocks[rank];
    block.x = cluster % clusters_x * grid.cluster + rank;
    block.y = cluster / clusters_x;
    block.rank = rank;
    block.owned.reset(new unsigned char[grid.shared]);
    block.shared = block.owned.get();
    std::memset(block.shared, 0xFF, grid.shared);
    block.warps = warps.data() + rank * warps_per_block;
    block.threads = threads.get() + rank * grid.threads;
    block.ready_warps = 0;
    block.at_barrier = block.exited = block.barriers = 0;
    for (unsigned w = 0; w < warps_per_block; ++w) {
      const unsigned lanes = grid.threads - w * warp_lanes;
      Warp& warp = block.warps[w];
      warp.block = &block;
      warp.number = w;
      warp.lanes = lanes < warp_lanes ? (1u << lanes) - 1 : ~0u;
      warp.ready = warp.num_open = 0;
    }
    for (unsigned t = 0; t < grid.threads; ++t) {
      Thread& thread = block.threads[t];
      thread.warp = block.warps + t / warp_lanes;
      thread.index = t;
      thread.cluster_arrivals = 0;
      thread.cluster_waited = true;
      thread.exited = false;
      thread.waits_for = nullptr;
      thread.copies.first = thread.copies.end = 0;
      thread.copies.open_group = 1;
      const size_t number = size_t{rank} * grid.threads + t;
      create(thread.context, stacks.stack(number), thread_main, t, tsan_fibers[first_fiber + number]);
    }
    make_block_ready(*this, block);
  }
  release(&begin_token);
}

void Machine::tear_down() {
  const HiddenFromTsan hidden;
  for (unsigned t = 0; t < grid.threads * grid.cluster; ++t) {
    if (threads[t].exited) continue;
    release(&end_token, threads[t].context, launcher);
    tsan_fibers.drop(first_fiber + t);
  }
  for (unsigned rank = 0; rank < grid.cluster; ++rank) blocks[rank].owned.reset();
}

SPARSEXMC_SHIM_HARNESS void fail(const char* format, ...) {
  Machine& m = *this_machine;
  Thread& me = *m.current;
  const Block& block = *me.warp->block;
  va_list arguments;
  va_start(arguments, format);
  const int length = std::snprintf(m.error, sizeof(m.error), "block (%u, %u), thread %u: ", block.x, block.y, me.index);
  std::vsnprintf(m.error + length, sizeof(m.error) - static_cast<size_t>(length), format, arguments);
  va_end(arguments);
  m.failed = true;
  release(&m.end_token);
  go_on(m, me.context, nullptr, true);
  __builtin_unreachable();
}

}  // namespace sparsexmc::shim

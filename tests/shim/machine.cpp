#include <cstdarg>
#include <cstdio>
#include <cstring>

#include "machine_state.h"

namespace sparsexmc::shim {

constinit thread_local Machine* this_machine = nullptr;

namespace {

constexpr char waits_for_cluster[] = "cluster_wait";

SPARSEXMC_SHIM_HARNESS unsigned pick(Machine& m, uint32_t set) {
  switch (m.order.kind) {
    case Order::forward:
      return static_cast<unsigned>(__builtin_ctz(set));
    case Order::reverse:
      return 31 - static_cast<unsigned>(__builtin_clz(set));
    default:
      break;
  }
  m.random_state ^= m.random_state << 13;
  m.random_state ^= m.random_state >> 7;
  m.random_state ^= m.random_state << 17;
  const unsigned turn = m.random_state & 31;
  const uint32_t turned = set >> turn | set << (-turn & 31);
  return (static_cast<unsigned>(__builtin_ctz(turned)) + turn) & 31;
}

/// Takes a thread off the ready sets; null if there is none.
SPARSEXMC_SHIM_HARNESS Thread* next_thread(Machine& m) {
  if (!m.ready_blocks) return nullptr;
  Block& block = m.blocks[pick(m, m.ready_blocks)];
  Warp& warp = block.warps[pick(m, block.ready_warps)];
  const unsigned lane = pick(m, warp.ready);
  warp.ready &= ~(1u << lane);
  if (!warp.ready) block.ready_warps &= ~(1u << warp.number);
  if (!block.ready_warps) m.ready_blocks &= ~(1u << block.rank);
  return block.threads + warp.number * warp_lanes + lane;
}

SPARSEXMC_SHIM_HARNESS void make_ready(Machine& m, Warp& warp, uint32_t lanes) {
  warp.ready |= lanes;
  warp.block->ready_warps |= 1u << warp.number;
  m.ready_blocks |= 1u << warp.block->rank;
}

SPARSEXMC_SHIM_HARNESS void make_block_ready(Machine& m, Block& block) {
  const unsigned count = (m.grid.threads + warp_lanes - 1) / warp_lanes;
  for (unsigned w = 0; w < count; ++w) make_ready(m, block.warps[w], block.warps[w].lanes);
}

SPARSEXMC_SHIM_HARNESS void go_on(Machine& m, Context& from, Thread* next, bool last = false) {
  m.current = next;
  if (next) show_position(*next);
  switch_context(from, next ? next->context : m.launcher, last);
}

/// The current thread stops here until somebody makes it ready. Without a ready thread the launcher looks what is
/// wrong.
SPARSEXMC_SHIM_HARNESS void wait(Machine& m, Thread& me, const char* what, uint32_t mask) {
  me.waits_for = what;
  me.waits_with = mask;
  Thread* next = next_thread(m);
  if (next != &me) go_on(m, me.context, next);
  me.waits_for = nullptr;
}

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

/// Has the last lane of the mask come?
SPARSEXMC_SHIM_HARNESS bool meet(Warp& warp, uint32_t mask, uint32_t lane, Combine combine, const char* operation) {
  if (!(mask & lane)) fail("%s with mask 0x%08x, which leaves out the calling lane", operation, mask);
  unsigned place = 0;
  while (place < warp.num_open && warp.open[place].mask != mask) ++place;
  if (place == warp.num_open) warp.open[warp.num_open++] = {mask, 0, combine};
  Warp::Open& open = warp.open[place];
  if (open.combine != combine) fail("%s, while other lanes of the mask 0x%08x call something else", operation, mask);
  open.arrived |= lane;
  if (open.arrived != mask) return false;
  open = warp.open[--warp.num_open];
  return true;
}

SPARSEXMC_SHIM_HARNESS void no_result(void* const*, uint32_t) {}

}  // namespace

void Machine::run_cluster(unsigned number, unsigned step) {
  this_machine = this;
  set_up(number, step);
  Thread* first = next_thread(*this);
  go_on(*this, launcher, first);
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
  // Clusters that run on different fibers have no order for TSan, which then sees races between them. Four sets of
  // fibers in turn, fewer for large clusters: TSan has 8128 threads.
  const size_t sets = threads_per_cluster > 1024 ? 1 : 4;
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

SPARSEXMC_SHIM_HARNESS void block_barrier() {
  Machine& m = *this_machine;
  Thread& me = *m.current;
  Block& block = *me.warp->block;
  void* token = &block.barrier_token[block.barriers & 1];
  release(token);
  if (++block.at_barrier == m.grid.threads) {
    block.at_barrier = 0;
    ++block.barriers;
    make_block_ready(m, block);
  }
  wait(m, me, "__syncthreads", 0);
  acquire(token);
}

SPARSEXMC_SHIM_HARNESS void warp_collective(uint32_t mask, Combine combine, void* argument, const char* operation) {
  Machine& m = *this_machine;
  Thread& me = *m.current;
  Warp& warp = *me.warp;
  const unsigned lane = me.index % warp_lanes;
  warp.arguments[lane] = argument;
  if (meet(warp, mask, 1u << lane, combine, operation)) {
    combine(warp.arguments, mask);
    make_ready(m, warp, mask);
  }
  wait(m, me, operation, mask);
}

SPARSEXMC_SHIM_HARNESS void warp_barrier(uint32_t mask) {
  // One token for all masks of a warp: more order than the kernel asked for, never less.
  void* token = this_machine->current->warp;
  release(token);
  warp_collective(mask, no_result, nullptr, "__syncwarp");
  acquire(token);
}

SPARSEXMC_SHIM_HARNESS unsigned cluster_rank() { return this_machine->current->warp->block->rank; }

SPARSEXMC_SHIM_HARNESS void cluster_arrive() {
  Machine& m = *this_machine;
  if (m.grid.cluster == 1) return;  // no barrier, so that a kernel that takes it for __syncthreads is found out
  Thread& me = *m.current;
  if (!me.cluster_waited) fail("cluster_arrive twice without cluster_wait");
  me.cluster_waited = false;
  release(&m.cluster_token[me.cluster_arrivals++ & 1]);
  if (++m.at_cluster_barrier < m.grid.threads * m.grid.cluster) return;
  m.at_cluster_barrier = 0;
  ++m.cluster_barriers;
  for (unsigned t = 0; t < m.grid.threads * m.grid.cluster; ++t) {
    Thread& thread = m.threads[t];
    if (thread.waits_for == waits_for_cluster) make_ready(m, *thread.warp, 1u << thread.index % warp_lanes);
  }
}

SPARSEXMC_SHIM_HARNESS void cluster_wait() {
  Machine& m = *this_machine;
  if (m.grid.cluster == 1) return;
  Thread& me = *m.current;
  if (me.cluster_waited) fail("cluster_wait without cluster_arrive");
  if (m.cluster_barriers < me.cluster_arrivals) wait(m, me, waits_for_cluster, 0);
  me.cluster_waited = true;
  acquire(&m.cluster_token[(me.cluster_arrivals - 1) & 1]);
}

}  // namespace sparsexmc::shim

// Where threads meet: in their warp, their block, their cluster.
#include "machine_state.h"

namespace sparsexmc::shim {

namespace {

constexpr char waits_for_cluster[] = "cluster_wait";

struct Meeting {
  bool complete;  // the last lane of the mask has come
  void* token;    // of this meeting, for release and acquire
};

SPARSEXMC_SHIM_HARNESS Meeting meet(Warp& warp, uint32_t mask, uint32_t lane, Combine combine, const char* operation) {
  if (!(mask & lane)) fail("%s with mask 0x%08x, which leaves out the calling lane", operation, mask);
  unsigned place = 0;
  while (place < warp.num_open && warp.open[place].mask != mask) ++place;
  if (place == warp.num_open) warp.open[warp.num_open++] = {mask, 0, warp.meetings++, combine};
  Warp::Open& open = warp.open[place];
  if (open.combine != combine) fail("%s, while other lanes of the mask 0x%08x call something else", operation, mask);
  open.arrived |= lane;
  const Meeting meeting = {open.arrived == mask, &warp.tokens[open.number % sizeof(warp.tokens)]};
  if (meeting.complete) open = warp.open[--warp.num_open];
  return meeting;
}

/// `ordered`: memory accesses before it come before those after it. CUDA promises that for __syncwarp only.
SPARSEXMC_SHIM_HARNESS void come_together(uint32_t mask, Combine combine, void* argument, const char* operation,
                                          bool ordered) {
  Machine& m = *this_machine;
  Thread& me = *m.current;
  Warp& warp = *me.warp;
  const unsigned lane = me.index % warp_lanes;
  warp.arguments[lane] = argument;
  const Meeting meeting = meet(warp, mask, 1u << lane, combine, operation);
  if (ordered) release(meeting.token);
  if (meeting.complete) {
    combine(warp.arguments, mask);
    make_ready(m, warp, mask);
  }
  wait(m, me, operation, mask);
  if (ordered) acquire(meeting.token);
}

SPARSEXMC_SHIM_HARNESS void no_result(void* const*, uint32_t) {}

}  // namespace

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
  come_together(mask, combine, argument, operation, false);
}

SPARSEXMC_SHIM_HARNESS void warp_barrier(uint32_t mask) { come_together(mask, no_result, nullptr, "__syncwarp", true); }

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

// Who runs next.
#include "intrinsics.h"
#include "machine_state.h"

namespace sparsexmc::shim {

constinit thread_local Machine* this_machine = nullptr;

namespace {

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

}  // namespace

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

SPARSEXMC_SHIM_HARNESS void go_on(Machine& m, Context& from, Thread* next, bool last) {
  m.current = next;
  if (next) {
    threadIdx.x = next->index;
    blockIdx.x = next->warp->block->x;
  }
  switch_context(from, next ? next->context : m.launcher, last);
}

SPARSEXMC_SHIM_HARNESS void wait(Machine& m, Thread& me, const char* what, uint32_t mask) {
  me.waits_for = what;
  me.waits_with = mask;
  Thread* next = next_thread(m);
  if (next != &me) go_on(m, me.context, next, false);
  me.waits_for = nullptr;
}

}  // namespace sparsexmc::shim

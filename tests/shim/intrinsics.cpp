#include "intrinsics.h"

#include "machine_state.h"

constinit thread_local dim3 threadIdx, blockIdx, blockDim, gridDim;

SPARSEXMC_SHIM_HARNESS void __threadfence() {
  static char token;
  sparsexmc::shim::acquire(&token);
  sparsexmc::shim::release(&token);
  std::atomic_signal_fence(std::memory_order_seq_cst);
}

namespace sparsexmc::shim {

namespace {

struct Ballot {
  bool predicate;
  unsigned result;
};

SPARSEXMC_SHIM_HARNESS void combine_ballot(void* const* arguments, uint32_t mask) {
  unsigned result = 0;
  for (uint32_t left = mask; left; left &= left - 1) {
    const int lane = __builtin_ctz(left);
    if (static_cast<const Ballot*>(arguments[lane])->predicate) result |= 1u << lane;
  }
  for (uint32_t left = mask; left; left &= left - 1) {
    static_cast<Ballot*>(arguments[__builtin_ctz(left)])->result = result;
  }
}

}  // namespace

unsigned ballot(unsigned mask, bool predicate, const char* operation) {
  Ballot mine{predicate, 0};
  warp_collective(mask, combine_ballot, &mine, operation);
  return mine.result;
}

SPARSEXMC_SHIM_HARNESS void show_grid(const Grid& grid, unsigned y) {
  threadIdx.y = threadIdx.z = 0;
  blockIdx = {0, y, 0};
  blockDim = {grid.threads, 1, 1};
  gridDim = {grid.blocks_x, grid.blocks_y, 1};
}

}  // namespace sparsexmc::shim

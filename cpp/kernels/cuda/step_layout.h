// How a step is cut for a GPU: by its sizes and the machine, the same for every call.
#pragma once

#include "kernels.h"

namespace sparsexmc::cuda {

struct StepLayout {
  int columns = 0;           // instances of a block
  int64_t column_tiles = 0;  // blocks for the batch; a cluster when fused
  bool fused = false;        // one kernel for dX and weights
  int64_t parts = 0;         // of dX: blocks = parts * column_tiles * windows
  int64_t window = 0;        // features whose dX fits a block's shared memory
  int64_t windows = 0;
  int64_t update_blocks = 0;  // when not fused: of the kernel that updates the weights
};

StepLayout step_layout(const kernels::Machine& machine, int64_t in_features, int64_t batch, DType compute);

/// Rows of a tile for groups of that size; single labels are packed.
inline int tile_rows(int64_t group_size) { return group_size > 1 && group_size <= 16 ? 16 : 32; }

}  // namespace sparsexmc::cuda

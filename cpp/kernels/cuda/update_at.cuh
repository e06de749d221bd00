// Optimizer update of a weight in place.
#pragma once

#include "update.cuh"

namespace sparsexmc::cuda {

/// One update of the weight at `at` of an fp32 tensor with its state. `decay` is the weight decay (0 for biases).
SPARSEXMC_DEVICE void update_at(float* w, const StoredTensor (&state)[2], int64_t at, float g, float decay,
                                const kernels::OptimizerStep& o) {
  float weight = w[at], slot[2] = {};
#pragma unroll
  for (int i = 0; i < 2; ++i)
    if (exists(state[i])) slot[i] = elements<float>(state[i])[at];
  update_weight(weight, slot[0], slot[1], g, decay, o, exists(state[0]));
  w[at] = weight;
#pragma unroll
  for (int i = 0; i < 2; ++i)
    if (exists(state[i])) elements<float>(state[i])[at] = slot[i];
}

}  // namespace sparsexmc::cuda

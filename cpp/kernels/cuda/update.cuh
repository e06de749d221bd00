// Optimizer update of one weight, and how weights of either dtype are read and written.
#pragma once

#include "element.cuh"
#include "kernels.h"
#include "rng.h"

namespace sparsexmc::cuda {

/// w and its state (unused slots are ignored) after one update with gradient g.
SPARSEXMC_DEVICE void update_weight(float& w, float& state0, float& state1, float g, float decay,
                                    const kernels::OptimizerStep& o, bool has_momentum) {
  if (o.kind == OptimizerKind::adam) {
    state0 += (1.0f - o.beta1) * (g - state0);
    state1 += (1.0f - o.beta2) * (g * g - state1);
    const float denominator = sqrtf(state1) * o.correction2 + o.eps;
    w -= o.lr * ((state0 * o.correction1) / denominator + decay * w);
  } else if (has_momentum) {
    state0 = o.momentum * state0 + (g + decay * w);
    w -= o.lr * state0;
  } else {
    w -= o.lr * (g + decay * w);
  }
}

SPARSEXMC_DEVICE float load_weight(const float* w) { return *w; }
SPARSEXMC_DEVICE float load_weight(const bfloat16* w) { return to_float(*w); }

/// Rounds to one of the two neighbours in bf16 with probabilities that keep the mean; `random` is a 32-bit word.
/// Adding 16 random bits below the last kept one carries into it just that often. NaN and Inf stay what they are.
SPARSEXMC_DEVICE bfloat16 round_stochastically(float w, uint32_t random) {
  const uint32_t u = __float_as_uint(w);
  if ((u & 0x7F800000u) == 0x7F800000u) return to_bfloat16(w);
  return bfloat16{static_cast<uint16_t>((u + (random & 0xFFFFu)) >> 16)};
}

/// The random words for the weights of rows row .. row + 3 at place `slot` of their fan-in: `row` counts in the
/// internal order, and is the first of its group or 4, 8, ... after it.
SPARSEXMC_DEVICE rng::Block rounding_words(uint64_t seed, uint64_t step, int64_t row, int64_t slot) {
  return rng::draw(seed, rng::Purpose::rounding, step, static_cast<uint64_t>(row), static_cast<uint32_t>(slot));
}

}  // namespace sparsexmc::cuda

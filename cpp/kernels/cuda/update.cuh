// Optimizer update of one weight, and how weights of either dtype are read and written.
#pragma once

#include "arithmetic.cuh"
#include "element.cuh"
#include "kernels.h"
#include "rng.h"

namespace sparsexmc::cuda {

/// w and its state (unused slots are ignored) after one update with gradient g.
SPARSEXMC_DEVICE void update_weight(float& w, float& state0, float& state1, float g, float decay,
                                    const kernels::OptimizerStep& o, bool has_momentum) {
  if (o.kind == OptimizerKind::adam)
    formulas::adam<ExactMath>(w, state0, state1, g, decay, o);
  else if (has_momentum)
    formulas::momentum<ExactMath>(w, state0, g, decay, o);
  else
    formulas::sgd<ExactMath>(w, g, decay, o);
}

SPARSEXMC_DEVICE float load_weight(const float* w) { return *w; }
SPARSEXMC_DEVICE float load_weight(const bfloat16* w) { return to_float(*w); }

/// Rounds stochastically; `random` is a 32-bit word. NaN and Inf stay what they are.
SPARSEXMC_DEVICE bfloat16 round_stochastically(float w, uint32_t random) {
  const uint32_t u = __float_as_uint(w);
  if ((u & 0x7F800000u) == 0x7F800000u) return to_bfloat16(w);
  return bfloat16{static_cast<uint16_t>(stochastic_bfloat16(u, random) >> 16)};
}

/// The random words for the weights of rows row .. row + 3 at place `slot` of their fan-in: `row` counts in the
/// internal order, and is the first of its group or 4, 8, ... after it.
SPARSEXMC_DEVICE rng::Block rounding_words(uint64_t seed, uint64_t step, int64_t row, int64_t slot) {
  return rng::draw(seed, rng::Purpose::rounding, step, static_cast<uint64_t>(row), static_cast<uint32_t>(slot));
}

}  // namespace sparsexmc::cuda

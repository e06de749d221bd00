// Optimizer updates over contiguous runs of weights.
#pragma once

#include "formulas.h"
#include "fp32.h"
#include "simd.h"

namespace sparsexmc::cpu::SPARSEXMC_ISA {

using kernels::OptimizerStep;

/// Loads n lanes (the rest are zero) and stores n lanes: so that tails take the same arithmetic as whole vectors.
SPARSEXMC_INLINE Vec load_first(const float* p, int64_t n) {
  if (n >= width) return load(p);
  Vec v = {};
  for (int64_t i = 0; i < n; ++i) v[i] = p[i];
  return v;
}
SPARSEXMC_INLINE void store_first(float* p, Vec v, int64_t n) {
  if (n >= width) {
    store(p, v);
    return;
  }
  for (int64_t i = 0; i < n; ++i) p[i] = v[i];
}

/// Applies one update to n weights whose gradient is g. `decay` is the weight decay (0 for biases).
SPARSEXMC_INLINE void update_run(float* w, float* state0, float* state1, const float* g, int64_t n, float decay,
                                 const OptimizerStep& o) {
  if (o.kind == OptimizerKind::adam) {
    for (int64_t i = 0; i < n; i += width) {
      const int64_t left = n - i;
      const Vec gradient = load_first(g + i, left);
      Vec weight = load_first(w + i, left);
      Vec m = load_first(state0 + i, left), v = load_first(state1 + i, left);
      formulas::adam<VectorMath>(weight, m, v, gradient, decay, o);
      store_first(w + i, weight, left);
      store_first(state0 + i, m, left);
      store_first(state1 + i, v, left);
    }
  } else if (state0 != nullptr) {
    for (int64_t i = 0; i < n; i += width) {
      const int64_t left = n - i;
      Vec weight = load_first(w + i, left), velocity = load_first(state0 + i, left);
      formulas::momentum<VectorMath>(weight, velocity, load_first(g + i, left), decay, o);
      store_first(w + i, weight, left);
      store_first(state0 + i, velocity, left);
    }
  } else {
    for (int64_t i = 0; i < n; i += width) {
      const int64_t left = n - i;
      Vec weight = load_first(w + i, left);
      formulas::sgd<VectorMath>(weight, load_first(g + i, left), decay, o);
      store_first(w + i, weight, left);
    }
  }
}

/// The same for weights at position `at` of a tensor with its state.
SPARSEXMC_INLINE void update_at(float* w, const StoredTensor (&state)[2], int64_t at, const float* g, int64_t n,
                                float decay, const OptimizerStep& o) {
  update_run(w + at, fp32_at(state[0], at), fp32_at(state[1], at), g, n, decay, o);
}

}  // namespace sparsexmc::cpu::SPARSEXMC_ISA

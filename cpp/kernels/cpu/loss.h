// The loss over rows of logits: vectors that take every label for a negative, scalar repairs for the few positives.
#pragma once

#include "formulas.h"
#include "simd.h"

namespace sparsexmc::cpu::SPARSEXMC_ISA {

using LossSum = formulas::LossSum<VectorMath>;

/// scale * dloss/dz for negatives, with their loss into `total`. Lanes off in `mask` give 0.
/// @tparam Formula the struct of a loss in losses.h
template <class Formula, bool masked>
SPARSEXMC_INLINE Vec negative_vector(Vec z, float scale, VecI mask, LossSum& total) {
  if constexpr (masked && Formula::has_lossless_logit) z = mask ? z : broadcast(Formula::lossless_logit);
  losses::LogitLoss<VectorMath> l = Formula::template of<VectorMath>(z, false, scale);
  if constexpr (masked && !Formula::has_lossless_logit) {
    l.slope = mask ? l.slope : Vec{};
    l.factor = mask ? l.factor : Vec{};
    l.term = mask ? l.term : Vec{};
  }
  total.add<Formula>(l);
  return l.slope;
}

/// Corrects one logit that negative_vector took for a negative: returns the right derivative, adds the difference of
/// the losses.
/// @param d what negative_vector returned  @param weight of this positive; 1 changes no bit
template <class Formula>
SPARSEXMC_INLINE float positive_logit(float z, float d, float scale, float weight, double& total) {
  return Formula::template positive_slope<ScalarMath>(z, d, scale, weight, total);
}

}  // namespace sparsexmc::cpu::SPARSEXMC_ISA

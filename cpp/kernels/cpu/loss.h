// The loss over rows of logits: vectors that take every label for a negative, scalar repairs for the few positives.
#pragma once

#include "formulas.h"
#include "simd.h"

namespace sparsexmc::cpu::SPARSEXMC_ISA {

using LossSum = formulas::LossSum<VectorMath>;

/// scale * dloss/dz for negatives, with their loss into `total`. Lanes off in `mask` give 0.
template <Loss loss, bool masked>
SPARSEXMC_INLINE Vec negative_vector(Vec z, float scale, VecI mask, LossSum& total) {
  constexpr bool ends = loss == Loss::squared_hinge;  // there is no loss below -1: a logit for the lanes that are off
  if constexpr (masked && ends) z = mask ? z : broadcast(-1.0f);
  formulas::LogitLoss<VectorMath> l = formulas::logit_loss<VectorMath>(loss, z, false, scale);
  if constexpr (masked && !ends) {
    l.slope = mask ? l.slope : Vec{};
    l.factor = mask ? l.factor : Vec{};
    l.term = mask ? l.term : Vec{};
  }
  total.add(loss, l);
  return l.slope;
}

/// Corrects one logit that negative_vector took for a negative: returns the right derivative, adds the difference of
/// the losses.
/// @param d what negative_vector returned  @param weight of this positive; 1 changes no bit
template <Loss loss>
SPARSEXMC_INLINE float positive_logit(float z, float d, float scale, float weight, double& total) {
  if constexpr (loss == Loss::bce) {
    total -= static_cast<double>(z);  // log(1 + e^-z) = log(1 + e^z) - z
    if (weight != 1.0f) {
      const float own = larger(-z, 0.0f) + __builtin_log1pf(__builtin_expf(z > 0.0f ? -z : z));  // log(1 + e^-z)
      total += (static_cast<double>(weight) - 1.0) * static_cast<double>(own);
    }
    // For large z the subtraction would cancel: -sigma(-z) is exact there.
    return weight * (z > 0.0f ? -scale * (1.0f / (1.0f + __builtin_expf(z))) : d - scale);
  } else {
    const float wrong = larger(1.0f + z, 0.0f), right = larger(1.0f - z, 0.0f);
    total += static_cast<double>(weight) * right * right - static_cast<double>(wrong) * wrong;
    return weight * (-2.0f * scale * right);
  }
}

}  // namespace sparsexmc::cpu::SPARSEXMC_ISA

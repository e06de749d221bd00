// The loss over rows of logits: vectors that take every label for a negative, scalar repairs for the few positives.
#pragma once

#include "formulas.h"
#include "simd.h"

namespace sparsexmc::cpu::SPARSEXMC_ISA {

using LossSum = formulas::LossSum<VectorMath>;

/// A loss of instances with weights, and whether a loss is one.
template <class Formula>
struct Weighted : Formula {};
template <class Formula>
inline constexpr bool is_weighted = false;
template <class Formula>
inline constexpr bool is_weighted<Weighted<Formula>> = true;

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

/// The same times the instances' weights; weights of 1 change no bit of the slope. Lanes of weight 0 give 0, whatever
/// their logits. Every logit takes a logarithm of its own here.
template <class Formula>
SPARSEXMC_INLINE Vec weighted_negative_vector(Vec z, float scale, Vec weights, LossSum& total) {
  const losses::LogitLoss<VectorMath> l = Formula::template of<VectorMath>(z, false, scale);
  Vec own = l.term;
  if constexpr (Formula::has_factor) own = own + log1p_nonnegative(l.factor);
  const VecI counts = weights > 0.0f;
  total.add_term(counts ? weights * own : Vec{});
  return counts ? weights * l.slope : Vec{};
}

/// Corrects one logit that negative_vector took for a negative: returns the right derivative, adds the difference of
/// the losses.
/// @param d what negative_vector returned  @param weight of this positive; 1 changes no bit
template <class Formula>
SPARSEXMC_INLINE float positive_logit(float z, float d, float scale, float weight, double& total) {
  return Formula::template positive_slope<ScalarMath>(z, d, scale, weight, total);
}

/// The same for one that weighted_negative_vector took for a negative. @param instance_weight 1 changes no bit of the
/// derivative
template <class Formula>
SPARSEXMC_INLINE float weighted_positive_logit(float z, float d, float scale, float weight, float instance_weight,
                                               double& total) {
  if (!(instance_weight > 0.0f)) return d;
  double difference = 0.0;
  const float right = positive_logit<Formula>(z, d, scale * instance_weight, weight, difference);
  total += static_cast<double>(instance_weight) * difference;
  return right;
}

}  // namespace sparsexmc::cpu::SPARSEXMC_ISA

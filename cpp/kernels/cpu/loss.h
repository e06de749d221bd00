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

/// Beside the logits, what the loss of a strip of instances needs; pointers are to the strip's first.
struct LossInputs {
  float scale;                    // of the slopes
  const float* instance_weights;  // null: 1
  const float* normaliser;        // [4, ldx], of a normalised loss
  int64_t ldx;
  float logit_scale;  // of a normalised loss

  LossInputs at(int64_t column) const {
    LossInputs later = *this;
    if (instance_weights != nullptr) later.instance_weights += column;
    if (normaliser != nullptr) later.normaliser += column;
    return later;
  }
};

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

/// The same for a normalised loss. Instances that do not count, padding among them, give 0.
template <class Formula>
SPARSEXMC_INLINE Vec normalised_vector(Vec z, const LossInputs& in, int64_t column, LossSum& total) {
  const float* n = in.normaliser + column;
  const losses::InstanceNormaliser<Vec> instance{load(n), load(n + in.ldx), {}, load(n + 3 * in.ldx)};
  const losses::LogitLoss<VectorMath> l =
      Formula::template of<VectorMath>(in.logit_scale * z, instance, in.scale * in.logit_scale);
  total.add<Formula>(l);
  return l.slope;
}

/// Scale * dloss/dz of the vector at `column` of the strip.
/// @param valid instances of the strip from there on  @tparam masked there may be fewer than a vector's
template <class Formula, bool masked>
SPARSEXMC_INLINE Vec slopes(Vec z, const LossInputs& in, int64_t column, int64_t valid, LossSum& total) {
  if constexpr (is_weighted<Formula>) {
    return weighted_negative_vector<Formula>(z, in.scale, load(in.instance_weights + column), total);
  } else if constexpr (Formula::normalised) {
    return normalised_vector<Formula>(z, in, column, total);
  } else {
    const VecI mask = masked ? first_lanes(larger<int64_t>(valid, 0)) : VecI{};
    return negative_vector<Formula, masked>(z, in.scale, mask, total);
  }
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

/// The slope of a positive at `column` of the strip, whose slope as a negative is d; mends the loss.
/// @param weight of this positive
template <class Formula>
SPARSEXMC_INLINE float positive_slope(float z, float d, const LossInputs& in, int64_t column, float weight,
                                      double& total) {
  if constexpr (is_weighted<Formula>) {
    return weighted_positive_logit<Formula>(z, d, in.scale, weight, in.instance_weights[column], total);
  } else if constexpr (Formula::normalised) {
    const float* n = in.normaliser + column;
    return d +
           Formula::positive_part(in.logit_scale * z, n[0], n[2 * in.ldx], weight, in.scale * in.logit_scale, total);
  } else {
    return positive_logit<Formula>(z, d, in.scale, weight, total);
  }
}

}  // namespace sparsexmc::cpu::SPARSEXMC_ISA

// Loss and its derivative over one row of logits: vectors for the negatives, scalar repairs for the few positives.
#pragma once

#include "kernels.h"
#include "simd.h"

namespace sparsexmc::cpu::SPARSEXMC_ISA {

/// Sums the loss of many logits without a logarithm per logit: a running q with 1 + q = product of (1 + e), which keeps
/// the relative precision of tiny e (late in training nearly all e are tiny), turned into a log every few vectors.
class LossSum {
 public:
  SPARSEXMC_INLINE void add_factor(Vec e) { q_ = q_ + e * (1.0f + q_); }
  SPARSEXMC_INLINE void add(Vec x) { sum_ = sum_ + x; }
  SPARSEXMC_INLINE void add(const LossSum& other) {
    add_factor(other.q_);
    add(other.sum_);
  }
  /// To be called at least every 64 factors: 1 + e <= 2, so q stays below 2^64.
  SPARSEXMC_INLINE void flush() {
    sum_ = sum_ + log1p_nonnegative(q_);
    q_ = Vec{};
  }
  /// Moves what was summed in fp32 into the total in fp64.
  SPARSEXMC_INLINE void drain(double& total) {
    flush();
    total += static_cast<double>(sum(sum_));
    sum_ = Vec{};
  }

 private:
  Vec q_ = {};
  Vec sum_ = {};
};

/// d = scale * dloss/dz for a negative label (y = -1), and the loss into `total`. Lanes off in `mask` give 0.
template <Loss loss, bool masked>
SPARSEXMC_INLINE Vec negative_vector(Vec z, float scale, VecI mask, LossSum& total) {
  if constexpr (loss == Loss::bce) {
    Vec e = exp_nonpositive(negative_abs(z));
    const Vec r = reciprocal(1.0f + e);
    Vec d = (z > 0.0f ? r : e * r) * scale;
    Vec positive_part = max(z, Vec{});
    if constexpr (masked) {
      e = mask ? e : Vec{};
      d = mask ? d : Vec{};
      positive_part = mask ? positive_part : Vec{};
    }
    total.add_factor(e);
    total.add(positive_part);
    return d;
  } else {
    Vec margin = max(1.0f + z, Vec{});
    if constexpr (masked) margin = mask ? margin : Vec{};
    total.add(margin * margin);
    return margin * (2.0f * scale);
  }
}

/// Corrects one logit that negative_vector took for a negative: returns the right d, adds the difference of the losses.
/// @param weight of this positive; 1 changes no bit
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

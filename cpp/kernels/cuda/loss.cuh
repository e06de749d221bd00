// Loss and its derivative for one logit.
#pragma once

#include "device_compat.h"
#include "kernels.h"

namespace sparsexmc::cuda {

/// Sums losses without a logarithm per logit: a running q with 1 + q = product of (1 + e), which keeps the relative
/// precision of tiny e (as the CPU's LossSum).
class LossSum {
 public:
  /// At most 64 factors may come between two calls of drain: 1 + e <= 2, so q stays below 2^64.
  SPARSEXMC_DEVICE void add_factor(float e) { q_ += e * (1.0f + q_); }
  SPARSEXMC_DEVICE void add(float x) { sum_ += x; }
  SPARSEXMC_DEVICE void drain() {
    total_ += static_cast<double>(log1pf(q_) + sum_);
    q_ = sum_ = 0.0f;
  }
  SPARSEXMC_DEVICE double total() const { return total_; }

 private:
  float q_ = 0.0f, sum_ = 0.0f;
  double total_ = 0.0;
};

/// scale * dloss/dz, with the loss into `sum`. exact: exp and division as on the CPU instead of their fast forms.
template <bool exact>
SPARSEXMC_DEVICE float loss_gradient(Loss loss, float z, bool positive, float scale, LossSum& sum) {
  if (loss == Loss::bce) {
    const float towards = positive ? -z : z;  // the loss is log(1 + exp(towards))
    const float e = exact ? expf(-fabsf(z)) : fast_exp(-fabsf(z));
    const float r = exact ? 1.0f / (1.0f + e) : fast_reciprocal(1.0f + e);
    sum.add_factor(e);
    sum.add(towards > 0.0f ? towards : 0.0f);
    const float d = (towards > 0.0f ? r : e * r) * scale;
    return positive ? -d : d;
  }
  const float margin = 1.0f + (positive ? -z : z);
  const float active = margin > 0.0f ? margin : 0.0f;
  sum.add(active * active);
  return (positive ? -2.0f : 2.0f) * scale * active;
}

}  // namespace sparsexmc::cuda

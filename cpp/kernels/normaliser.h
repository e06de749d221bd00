// From the statistics of pass 1 to the numbers that the step needs of an instance: one definition for both devices.
#pragma once

#include <cmath>

#include "kernels.h"

namespace sparsexmc::kernels {

/// Statistics of an instance over several parts. Sums are in fp64: a part may hold millions of labels.
struct InstanceStatistics {
  float maximum = -3.4028234664e38f;
  double sum = 0.0;  // of exp(logit - maximum)
  double positives = 0.0, weights = 0.0;

  /// @param part maximum, sum, positives and weights, `stride` apart: see Normalise
  SPARSEXMC_HD void add(const float* part, int64_t stride) {
    const float top = larger(maximum, part[0]);
    sum = sum * std::exp(static_cast<double>(maximum) - static_cast<double>(top)) +
          static_cast<double>(part[stride]) * std::exp(static_cast<double>(part[0]) - static_cast<double>(top));
    maximum = top;
    positives += static_cast<double>(part[2 * stride]);
    weights += static_cast<double>(part[3 * stride]);
  }
};

/// Writes the normaliser of instance b. Instances without positives or weight, and places after the batch, have none.
/// @returns its part of FinishNormaliser::loss
SPARSEXMC_HD double finish_instance(const FinishNormaliser& p, int64_t b, const InstanceStatistics& s) {
  const bool in_batch = b < p.batch;
  float share = 0.0f, target = 0.0f, uniform = 0.0f;
  double loss = 0.0;
  if (in_batch) {
    const double weight = p.instance_weights == nullptr ? 1.0 : static_cast<double>(p.instance_weights[b]);
    if (s.positives > 0.0 && weight > 0.0) {
      const double log_sum = std::log(s.sum), log_sum_exp = static_cast<double>(s.maximum) + log_sum;
      const double each = (1.0 - p.label_smoothing) / s.positives, targets = each * s.weights + p.label_smoothing;
      share = static_cast<float>(weight * (targets + 2.0 * p.z_loss * log_sum_exp) / s.sum);
      target = static_cast<float>(weight * each);
      uniform = static_cast<float>(weight * p.label_smoothing / static_cast<double>(p.labels));
      loss = weight * (targets * log_sum + p.z_loss * log_sum_exp * log_sum_exp);
    }
  }
  p.normaliser[b] = in_batch ? s.maximum : 0.0f;
  p.normaliser[p.ldx + b] = share;
  p.normaliser[2 * p.ldx + b] = target;
  p.normaliser[3 * p.ldx + b] = uniform;
  return loss;
}

}  // namespace sparsexmc::kernels

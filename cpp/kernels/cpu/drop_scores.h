// Scores of the connections: what a group would lose without one.
#pragma once

#include "cut.h"
#include "formulas.h"
#include "fp32.h"
#include "kernels.h"
#include "simd.h"
#include "sparsexmc/thread_pool.h"

namespace sparsexmc::cpu::SPARSEXMC_ISA {

using kernels::KeptBatch;
using kernels::RewireStep;
using kernels::Segment;

/// Mean square of a feature over the instances of a batch, each as often as its weight says.
inline float mean_square(const KeptBatch& kept, int64_t feature) {
  const float* x = fp32(kept.xt) + feature * kept.ldx;  // zeros after the batch
  Vec squares = {}, weights = {};
  if (kept.instance_weights == nullptr) {
    for (int64_t b = 0; b < kept.batch; b += width) squares = squares + load(x + b) * load(x + b);
    return sum(squares) / static_cast<float>(kept.batch);
  }
  for (int64_t b = 0; b < kept.batch; b += width) {
    const Vec weight = load(kept.instance_weights + b);
    squares = squares + (weight * load(x + b)) * load(x + b);  // 0 where the weight is, though the square overflows
    weights = weights + weight;
  }
  const float total = sum(weights);
  return total > 0.0f ? sum(squares) / total : 0.0f;
}

/// scales[in_features]: root of the mean square of every feature; each kept batch counts the same.
inline void feature_scales(ThreadPool& threads, float* scales, const RewireStep& p) {
  constexpr int64_t features_per_item = 64;
  const int64_t features = p.segment.in_features;
  parallel_for(threads, ceil_div(features, features_per_item), [&](int64_t item, int) {
    for (int64_t f = item * features_per_item; f < smaller((item + 1) * features_per_item, features); ++f) {
      float mean = 0.0f;
      for (int64_t k = 0; k < p.num_kept; ++k) mean += mean_square(p.kept[k], f);
      scales[f] = __builtin_sqrtf(mean / static_cast<float>(p.num_kept));
    }
  });
}

/// keys[fan_in] of a group's scores over the rows that are labels. @param index [fan_in] the group's features
template <class Index>
inline void drop_keys(uint32_t* keys, const Segment& s, const float* scales, int64_t group, const Index* index) {
  const int64_t rows = smaller(s.group_size, s.rows - group * s.group_size);
  const float* w = fp32(s.weights) + group * s.fan_in * s.group_size;
  for (int64_t f = 0; f < s.fan_in; ++f, w += s.group_size) {
    const int64_t whole = rows / width * width;
    float total = 0.0f;
    if (whole > 0) {
      Vec lanes = {};
      for (int64_t g = 0; g < whole; g += width) lanes = lanes - negative_abs(load(w + g));
      total = sum(lanes);
    }
    for (int64_t g = whole; g < rows; ++g) total += __builtin_fabsf(w[g]);
    keys[f] = score_key(formulas::connection_score(total, rows, scales[index[f]]));
  }
}

}  // namespace sparsexmc::cpu::SPARSEXMC_ISA

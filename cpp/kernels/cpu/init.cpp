// Initial weights and indices.
#include "feature_set.h"
#include "fp32.h"
#include "random_rows.h"
#include "simd.h"
#include "table.h"
#include "visit.h"

namespace sparsexmc::cpu::SPARSEXMC_ISA {

using kernels::InitHidden;
using kernels::InitSegment;
using kernels::Segment;

namespace {

/// Weights [fan_in, group_size] and biases of one group.
inline void init_group(const InitSegment& p, int64_t group) {
  const Segment& s = p.segment;
  const int64_t rows = s.group_size, first_row = group * rows;
  const int64_t valid_rows = smaller(rows, s.rows - first_row);
  for (int64_t g = 0; g < rows; ++g) s.bias[first_row + g] = g < valid_rows ? p.bias : 0.0f;
  alignas(64) uint32_t words[4][strip_columns];
  for (int64_t f = 0; f < s.fan_in; f += 4)
    for (int64_t first = 0; first < rows; first += strip_columns) {
      const int64_t count = smaller(strip_columns, rows - first);
      draw_rows(words, p.seed, rng::Purpose::weights, p.segment_number, first_row + first, count, f / 4);
      for (int64_t j = 0; j < smaller<int64_t>(4, s.fan_in - f); ++j) {
        float* w = fp32(s.weights) + (group * s.fan_in + f + j) * rows + first;
        for (int64_t g = 0; g < count; ++g) w[g] = first + g < valid_rows ? rng::symmetric(words[j][g], p.bound) : 0.0f;
      }
    }
}

template <class Index>
inline void init_indices(const InitSegment& p, int64_t group, Index* index) {
  const Segment& s = p.segment;
  uint64_t words[FeatureSet::max_words];
  FeatureSet chosen(words, s.in_features);
  chosen.clear();
  choose_features(NoFeatures{}, 0, s.in_features, s.fan_in,
                  WordStream{p.seed, rng::Purpose::indices, p.segment_number, static_cast<uint64_t>(group)}, chosen,
                  [&](int64_t f) { *index++ = static_cast<Index>(f); });
}

}  // namespace

void init_segment(ThreadPool& threads, const InitSegment& p) {
  const Segment& s = p.segment;
  const int64_t groups_per_item = larger<int64_t>(1, 16384 / (s.fan_in * s.group_size));
  parallel_for(threads, ceil_div(s.groups, groups_per_item), [&](int64_t item, int) {
    const int64_t last = smaller((item + 1) * groups_per_item, s.groups);
    for (int64_t group = item * groups_per_item; group < last; ++group) {
      init_group(p, group);
      if (s.indices == nullptr) continue;
      visit_indices(s, group, [&](auto* index) { init_indices(p, group, index); });
    }
  });
}

void init_hidden(ThreadPool& threads, const InitHidden& p) {
  for (int64_t u = 0; u < p.units; ++u) p.bias[u] = 0.0f;
  const int64_t rows_per_item = larger<int64_t>(1, 16384 / p.units);
  parallel_for(threads, ceil_div(p.features, rows_per_item), [&](int64_t item, int) {
    const int64_t last = smaller((item + 1) * rows_per_item, p.features);
    for (int64_t f = item * rows_per_item; f < last; ++f) {
      float* w = p.weight + f * p.units;
      for (int64_t u = 0; u < p.units; u += 4) {
        const rng::Block block =
            rng::draw(p.seed, rng::Purpose::hidden_weights, 0, static_cast<uint64_t>(f), static_cast<uint32_t>(u / 4));
        for (int64_t j = 0; j < smaller<int64_t>(4, p.units - u); ++j)
          w[u + j] = rng::symmetric(block.word[j], p.bound);
      }
    }
  });
}

}  // namespace sparsexmc::cpu::SPARSEXMC_ISA

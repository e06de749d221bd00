// Scores of the connections, recomputed wherever they are needed, and the search for the cut through those of a whole
// segment.
#pragma once

#include "cut.cuh"
#include "element.cuh"
#include "row_weights.cuh"

namespace sparsexmc::cuda {

struct FeatureScales {
  float* scales;  // [in_features]: root of the mean square of every feature over the instances, each as often as its
                  // weight says; each kept batch counts the same
  const kernels::KeptBatch* kept;
  int64_t num_kept, in_features;
};

/// A warp takes one feature after the other.
template <class T>
SPARSEXMC_KERNEL(block_threads, 4)
feature_scales_kernel(const FeatureScales p) {
  constexpr int warps = block_threads / warp_size;
  const int64_t stride = int64_t{gridDim.x} * warps;
  for (int64_t f = int64_t{blockIdx.x} * warps + warp(); f < p.in_features; f += stride) {
    float mean = 0.0f;
    for (int64_t k = 0; k < p.num_kept; ++k) {
      const kernels::KeptBatch& kept = p.kept[k];
      const T* x = static_cast<const T*>(kept.xt) + f * kept.ldx;
      float squares = 0.0f, weights = 0.0f;
      for (int64_t b = lane(); b < kept.batch; b += warp_size) {
        const float weight = kept.instance_weights == nullptr ? 1.0f : kept.instance_weights[b];
        squares += (weight * to_float(x[b])) * to_float(x[b]);  // 0 where the weight is, though the square overflows
        weights += weight;
      }
      squares = warp_sum(squares);
      weights = warp_sum(weights);
      mean += weights > 0.0f ? squares / weights : 0.0f;
    }
    if (lane() == 0) p.scales[f] = sqrtf(mean / static_cast<float>(p.num_kept));
  }
}

/// Key of mean |w| over the rows that are labels, added in their order, times the scale of the feature.
/// @param scales of the features  @param connection group * fan_in + place
template <class W>
SPARSEXMC_DEVICE uint32_t drop_key(const kernels::Segment& s, const float* scales, int64_t connection) {
  const int64_t last_group = (s.groups - 1) * s.fan_in;  // the only one with padding rows
  const int64_t rows = connection < last_group ? s.group_size : s.rows - (s.groups - 1) * s.group_size;
  const W* weights = elements<W>(s.weights) + connection * s.group_size;
  const bool aligned = s.group_size % 4 == 0;
  float total = 0.0f;
  for (int64_t row = 0; row < rows; row += 4) {
    float w[4];
    load_weights(w, weights + row, static_cast<int>(rows - row), aligned);
#pragma unroll
    for (int i = 0; i < 4; ++i) total += fabsf(w[i]);
  }
  return score_key(formulas::connection_score(total, rows, scales[feature_at(s, 0, connection)]));
}

/// The groups of a segment in ranges: ties are counted, and sums taken, over the groups of a range and then over the
/// ranges, in order.
struct GroupRanges {
  int64_t groups = 0;     // of the segment
  int64_t per_range = 1;  // the last one may be shorter
  int64_t count = 0;

  SPARSEXMC_HD int64_t first_group(int64_t range) const { return smaller(range * per_range, groups); }
};

/// The outcome of a range.
struct RangeRecord {
  double dropped, grown;  // sums of scores
  int64_t changed;
  int64_t ties;  // connections at the segment's cut
};

struct LayerCutArguments {
  kernels::Segment segment;
  const float* scales;
  Cut* cut;                    // so far
  unsigned long long* counts;  // [CutPass::bins], zero between the passes
  int pass;
  GroupRanges ranges;
  RangeRecord* records;
};

/// One pass over all connections: its counts.
template <class W>
SPARSEXMC_KERNEL(block_threads, 4)
count_scores_kernel(const LayerCutArguments a) {
  const kernels::Segment& s = a.segment;
  unsigned* counts = reinterpret_cast<unsigned*>(shared_memory());
  const int thread = static_cast<int>(threadIdx.x);
  for (int i = thread; i < CutPass::bins; i += block_threads) counts[i] = 0;
  __syncthreads();
  const CutPass pass(a.pass);
  const Cut cut = *a.cut;
  const int64_t stride = static_cast<int64_t>(gridDim.x) * block_threads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * block_threads + thread; i < s.groups * s.fan_in; i += stride)
    pass.count(counts, drop_key<W>(s, a.scales, i), cut);
  __syncthreads();
  for (int i = thread; i < CutPass::bins; i += block_threads)
    if (counts[i] > 0) atomicAdd(a.counts + i, static_cast<unsigned long long>(counts[i]));
}

/// Ends a pass: one warp.
static SPARSEXMC_KERNEL(warp_size, 1) narrow_cut_kernel(const LayerCutArguments a) {
  const Cut cut = CutPass(a.pass).narrow(a.counts, *a.cut);
  __syncwarp();
  for (int i = lane(); i < CutPass::bins; i += warp_size) a.counts[i] = 0;
  if (lane() == 0) *a.cut = cut;
}

/// Counts the connections at the cut: a block per range.
template <class W>
SPARSEXMC_KERNEL(block_threads, 4)
count_ties_kernel(const LayerCutArguments a) {
  const int64_t range = blockIdx.x, end = a.ranges.first_group(range + 1) * a.segment.fan_in;
  const uint32_t key = a.cut->key;
  int64_t ties = 0;
  for (int64_t i = a.ranges.first_group(range) * a.segment.fan_in + threadIdx.x; i < end; i += block_threads)
    ties += drop_key<W>(a.segment, a.scales, i) == key;
  const double total = block_sum(static_cast<double>(ties), reinterpret_cast<double*>(shared_memory()));
  if (threadIdx.x == 0) a.records[range].ties = static_cast<int64_t>(total);
}

/// Ties of the ranges before this one; for all threads. @param scratch as in block_sum
SPARSEXMC_DEVICE int64_t ties_before(const RangeRecord* records, int64_t range, double* scratch) {
  int64_t ties = 0;
  for (int64_t i = threadIdx.x; i < range; i += block_threads) ties += records[i].ties;
  return static_cast<int64_t>(block_sum(static_cast<double>(ties), scratch));
}

}  // namespace sparsexmc::cuda

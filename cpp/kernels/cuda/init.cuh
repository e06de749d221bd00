// Initial weights and indices. Every number has a key of its own, so any cut into threads gives the CPU's results.
#pragma once

#include "element.cuh"
#include "feature_set.h"
#include "kernels.h"
#include "rng.h"

namespace sparsexmc::cuda {

inline constexpr int init_threads = 256;

SPARSEXMC_DEVICE int64_t thread_number() { return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; }

/// Four consecutive places of the fan-in, which share a draw, of every row.
SPARSEXMC_HD int64_t init_weight_threads(const kernels::Segment& s) {
  return s.groups * ceil_div(s.fan_in, 4) * s.group_size;
}

template <class W>
SPARSEXMC_KERNEL(init_threads, 1)
init_weights_kernel(const kernels::InitSegment p) {
  const kernels::Segment& s = p.segment;
  const int64_t quads = ceil_div(s.fan_in, 4), number = thread_number();
  if (number >= init_weight_threads(s)) return;
  const int64_t row = number % s.group_size, quad = number / s.group_size % quads,
                group = number / s.group_size / quads;
  const int64_t label = group * s.group_size + row;
  const bool valid = label < s.rows;
  if (quad == 0) s.bias[label] = valid ? p.bias : 0.0f;
  const rng::Block random = rng::draw(p.seed, rng::Purpose::weights, p.segment_number, static_cast<uint64_t>(label),
                                      static_cast<uint32_t>(quad));
  W* weights = elements<W>(s.weights) + (group * s.fan_in + 4 * quad) * s.group_size + row;
#pragma unroll
  for (int i = 0; i < 4; ++i)
    if (4 * quad + i < s.fan_in)
      weights[i * s.group_size] = from_float<W>(valid ? rng::symmetric(random.word[i], p.bound) : 0.0f);
}

/// A warp chooses the features of one group: its first thread draws, since each draw depends on those before.
template <class Index>
SPARSEXMC_KERNEL(warp_size, 1)
init_indices_kernel(const kernels::InitSegment p) {
  const kernels::Segment& s = p.segment;
  uint64_t* words = reinterpret_cast<uint64_t*>(shared_memory());
  for (int64_t i = lane(); i < FeatureSet::words(s.in_features); i += warp_size) words[i] = 0;
  __syncwarp();
  if (lane() != 0) return;
  const uint64_t group = blockIdx.x;
  Index* index = static_cast<Index*>(s.indices) + group * s.fan_in;
  choose_features(NoFeatures{}, 0, s.in_features, s.fan_in,
                  WordStream{p.seed, rng::Purpose::indices, p.segment_number, group}, FeatureSet(words, s.in_features),
                  [&](int64_t f) { *index++ = static_cast<Index>(f); });
}

/// One thread per four units of a feature.
static SPARSEXMC_KERNEL(init_threads, 1) init_hidden_kernel(const kernels::InitHidden p) {
  const int64_t quads = ceil_div(p.units, 4), number = thread_number();
  const int64_t feature = number / quads, quad = number % quads;
  if (feature >= p.features) return;
  const rng::Block random =
      rng::draw(p.seed, rng::Purpose::hidden_weights, 0, static_cast<uint64_t>(feature), static_cast<uint32_t>(quad));
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int64_t unit = 4 * quad + i;
    if (unit >= p.units) break;
    p.weight[feature * p.units + unit] = rng::symmetric(random.word[i], p.bound);
    if (feature == 0) p.bias[unit] = 0.0f;
  }
}

}  // namespace sparsexmc::cuda

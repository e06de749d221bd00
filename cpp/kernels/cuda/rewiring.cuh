// Rewiring: which connections of a group go, which features come instead, and the move of what stays. A block takes one
// group after the other; the cut through the scores of the segment (drop_scores.cuh) and the gradients
// (dense_gradient.cuh) are there when it starts.
#pragma once

#include "dense_gradient.cuh"
#include "drop_scores.cuh"
#include "feature_set.h"
#include "replace.cuh"

namespace sparsexmc::cuda {

using kernels::RewireStep;
using kernels::Segment;

struct RewireArguments {
  RewireStep step;  // its host pointers are not used
  GroupRanges ranges;
  int64_t first_range, last_range;  // of this launch
  const float* scales;              // of the features
  RangeRecord* records;             // of all ranges
  const Cut* cut;                   // scope layer: through the scores of the segment
  int64_t per_group;                // scope group: connections that go
  uint32_t* keys;          // rigl: growth keys of the ranges of this launch, [groups, in_features], overwritten
  unsigned char* scratch;  // GroupLists of each block
};

/// Grows at random: features outside the group's, uniformly. The row of the key holds group and segment.
class RandomGrowth {
 public:
  static size_t shared(int64_t features) {
    return 2 * sizeof(uint64_t) * static_cast<size_t>(FeatureSet::words(features));
  }

  SPARSEXMC_DEVICE RandomGrowth(const RewireArguments& a, unsigned char* shared)
      : p_(a.step), words_(reinterpret_cast<uint64_t*>(shared)) {}

  /// grown[n]. Returns this thread's part of the sum of their scores.
  SPARSEXMC_DEVICE double grow(const BlockSelect&, uint32_t* grown, int64_t group, int n) const {
    const Segment& s = p_.segment;
    const int words = static_cast<int>(FeatureSet::words(s.in_features)), fan_in = static_cast<int>(s.fan_in);
    for (int i = static_cast<int>(threadIdx.x); i < 2 * words; i += block_threads) words_[i] = 0;
    __syncthreads();
    auto* halves = reinterpret_cast<unsigned*>(words_);  // little-endian: bit f is bit f % 32 of half f / 32
    for (int i = static_cast<int>(threadIdx.x); i < fan_in; i += block_threads) {
      const uint32_t feature = feature_at(s, group, i);
      atomicOr(halves + feature / 32, 1u << (feature % 32));
    }
    __syncthreads();
    if (threadIdx.x == 0) {  // each draw depends on those before
      const uint64_t row = static_cast<uint64_t>(group) | uint64_t{p_.segment_number} << 32;
      choose_features(FeatureSet(words_, s.in_features), s.fan_in, s.in_features, n,
                      WordStream{p_.seed, rng::Purpose::grow, p_.step, row}, FeatureSet(words_ + words, s.in_features),
                      [&](int64_t f) { *grown++ = static_cast<uint32_t>(f); });
    }
    return 0.0;
  }

 private:
  const RewireStep& p_;
  uint64_t* words_;
};

/// Grows where the gradient is largest, ties to the smaller feature.
class GradientGrowth {
 public:
  SPARSEXMC_DEVICE GradientGrowth(const RewireArguments& a, unsigned char*)
      : s_(a.step.segment), keys_(a.keys), first_group_(a.ranges.first_group(a.first_range)) {}

  SPARSEXMC_DEVICE double grow(const BlockSelect& select, uint32_t* grown, int64_t group, int n) const {
    uint32_t* keys = keys_ + (group - first_group_) * s_.in_features;
    const int features = static_cast<int>(s_.in_features), fan_in = static_cast<int>(s_.fan_in);
    for (int i = static_cast<int>(threadIdx.x); i < fan_in; i += block_threads)
      keys[feature_at(s_, group, i)] = UINT32_MAX;
    __syncthreads();
    double total = 0.0;
    select.partition(keys, features, select.lowest(keys, features, n), [&](int feature, bool taken, int rank) {
      if (!taken) return;
      grown[rank] = static_cast<uint32_t>(feature);
      total += static_cast<double>(growth_norm(keys[feature]));
    });
    return total;
  }

 private:
  const Segment& s_;
  uint32_t* keys_;
  int64_t first_group_;
};

/// Keys of a group below the segment's cut, and at it: counted by the block.
struct KeyCounts {
  int below = 0, equal = 0;

  SPARSEXMC_DEVICE KeyCounts(const BlockSelect& select, const uint32_t* keys, int fan_in, uint32_t key) {
    for (int i = static_cast<int>(threadIdx.x); i < fan_in; i += block_threads) {
      below += keys[i] < key;
      equal += keys[i] == key;
    }
    below = select.sum(below);
    equal = select.sum(equal);
  }
};

inline constexpr size_t rewire_sums = sizeof(double) * (block_threads / warp_size);

template <class W, class Growth>
SPARSEXMC_KERNEL(block_threads, 3)
rewire_kernel(const RewireArguments a) {
  const Segment& s = a.step.segment;
  unsigned char* shared = shared_memory();
  auto* sums = reinterpret_cast<double*>(shared);
  const BlockSelect select(shared + rewire_sums);
  const Growth growth(a, shared + rewire_sums + BlockSelect::bytes);
  const GroupLists lists(a.scratch + blockIdx.x * GroupLists::bytes(s.fan_in), s.fan_in);
  const int fan_in = static_cast<int>(s.fan_in), room = static_cast<int>(s.in_features - s.fan_in);
  const bool layer = a.step.scope == RewiringScope::layer;

  for (int64_t range = a.first_range + blockIdx.x; range < a.last_range; range += gridDim.x) {
    const Cut cut = layer ? *a.cut : Cut{};
    int64_t ties = layer ? larger<int64_t>(cut.ties - ties_before(a.records, range, sums), 0) : 0;
    double dropped = 0.0, grown = 0.0;  // of this thread
    int64_t changed = 0;
    for (int64_t group = a.ranges.first_group(range); group < a.ranges.first_group(range + 1); ++group) {
      for (int i = static_cast<int>(threadIdx.x); i < fan_in; i += block_threads)
        lists.keys[i] = drop_key<W>(s, a.scales, group * fan_in + i);
      __syncthreads();
      int n = static_cast<int>(smaller<int64_t>(a.per_group, room));
      Cut own;
      bool known = false;
      if (layer) {
        const KeyCounts counts(select, lists.keys, fan_in, cut.key);
        known = group_cut(own, n, counts.below, counts.equal, room, cut.key, ties);
      }
      if (!known) own = select.lowest(lists.keys, fan_in, n);
      if (n > 0) {
        select.partition(lists.keys, fan_in, own, [&](int place, bool taken, int rank) {
          if (taken)
            dropped += static_cast<double>(key_score(lists.keys[place]));
          else
            lists.kept[place - rank] = static_cast<uint32_t>(place);
        });
        grown += growth.grow(select, lists.grown, group, n);
        __syncthreads();
        replace<W>(s, group, lists, n);
        changed += n;
      }
      __syncthreads();
    }
    dropped = block_sum(dropped, sums);
    grown = block_sum(grown, sums);
    if (threadIdx.x == 0) {
      RangeRecord& record = a.records[range];
      record.dropped = dropped;
      record.grown = grown;
      record.changed = changed;
    }
  }
}

}  // namespace sparsexmc::cuda

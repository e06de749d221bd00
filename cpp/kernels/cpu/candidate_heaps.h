// The best candidates of every instance of a batch, in heaps: what passes an instance's threshold gets in.
#pragma once

#include "kernels.h"
#include "simd.h"

namespace sparsexmc::cpu::SPARSEXMC_ISA {

/// Whether a is ranked before b. A strict total order: score descending, then user label id ascending.
SPARSEXMC_INLINE bool before(const kernels::Candidate& a, const kernels::Candidate& b) {
  return a.score > b.score || (a.score == b.score && a.label < b.label);
}

/// Restores the heap below place `i`: the root is the last-ranked candidate.
SPARSEXMC_INLINE void sift_down(kernels::Candidate* heap, int64_t size, int64_t i) {
  const kernels::Candidate moved = heap[i];
  for (;;) {
    int64_t child = 2 * i + 1;
    if (child >= size) break;
    if (child + 1 < size && before(heap[child], heap[child + 1])) ++child;
    if (!before(moved, heap[child])) break;
    heap[i] = heap[child];
    i = child;
  }
  heap[i] = moved;
}

/// Empties `count` places.
SPARSEXMC_INLINE void clear_candidates(kernels::Candidate* places, int64_t count) {
  for (int64_t i = 0; i < count; ++i) places[i] = {-__builtin_inff(), UINT32_MAX};
}

struct CandidateHeaps {
  kernels::Candidate* heaps;  // [batch, k]
  float* threshold;           // [batch padded to vectors]: score of each instance's last-ranked candidate
  int64_t batch, k;

  /// Takes the thresholds from the heaps; nothing passes in padding columns.
  void read_thresholds(int64_t all_columns) const {
    for (int64_t b = 0; b < batch; ++b) threshold[b] = heaps[b * k].score;
    for (int64_t b = batch; b < all_columns; ++b) threshold[b] = __builtin_inff();
  }

  /// Offers one label with scores z for instances [first_column, first_column + columns). NaN is ranked first, as
  /// infinity, so that whoever reads the scores sees that they are wrong.
  void offer(const float* z, uint32_t label, int64_t first_column, int64_t columns) const {
    for (int64_t c = 0; c < columns; c += width) {
      // An equal score with a smaller label id must get in.
      if (!any_not_below(load(z + c), load(threshold + first_column + c))) continue;
      put_columns(z, label, first_column, c);
    }
  }

  /// Offers `count` labels from `first_label` on with scores z, for one instance.
  void offer(Vec z, uint32_t first_label, int64_t count, int64_t instance) const {
    if (!any(z >= broadcast(threshold[instance]))) return;
    for (int64_t i = 0; i < count; ++i) put({z[i], first_label + static_cast<uint32_t>(i)}, instance);
  }

 private:
  // Rare, and out of the loop over labels, whose registers it would take.
  __attribute__((noinline)) void put_columns(const float* z, uint32_t label, int64_t first_column, int64_t c) const {
    for (int64_t i = c; i < c + width && first_column + i < batch; ++i)
      put({z[i] == z[i] ? z[i] : __builtin_inff(), label}, first_column + i);
  }

  void put(const kernels::Candidate& candidate, int64_t instance) const {
    kernels::Candidate* heap = heaps + instance * k;
    if (!before(candidate, heap[0])) return;
    heap[0] = candidate;
    sift_down(heap, k, 0);
    threshold[instance] = heap[0].score;
  }
};

}  // namespace sparsexmc::cpu::SPARSEXMC_ISA

// The n smallest of many scores without sorting or storing them: a search for the n-th smallest, digit by digit.
#pragma once

#include "row_tiles.cuh"
#include "score_cut.h"

namespace sparsexmc::cuda {

/// A pass of the search.
struct CutPass : CutDigit {
  using CutDigit::CutDigit;

  /// Adds to counts[bins].
  SPARSEXMC_DEVICE void count(unsigned* counts, uint32_t key, const Cut& cut) const {
    if (matches(key, cut)) atomicAdd(counts + of(key), 1u);
  }

  /// The cut with one more digit. For a whole warp; every lane gets it.
  template <class Count>
  SPARSEXMC_DEVICE Cut narrow(const Count* counts, const Cut& cut) const {
    constexpr int share = bins / warp_size;  // of a lane; each starts elsewhere in its own, in a bank of its own
    int64_t own = 0;
#pragma unroll 8
    for (int i = 0; i < share; ++i) own += static_cast<int64_t>(counts[lane() * share + (i + lane()) % share]);
    int64_t end = own;
    for (int distance = 1; distance < warp_size; distance *= 2) {
      const int64_t before = __shfl_up_sync(full_warp, end, static_cast<unsigned>(distance));
      if (lane() >= distance) end += before;
    }
    const int found = __ffs(static_cast<int>(__ballot_sync(full_warp, end >= cut.ties))) - 1;
    int64_t left = cut.ties - __shfl_sync(full_warp, end - own, found);
    int digit = found * share;
    while (left > static_cast<int64_t>(counts[digit])) left -= static_cast<int64_t>(counts[digit++]);
    return extended(cut, static_cast<uint32_t>(digit), left);
  }
};

/// Counting and choosing by a block. All methods are for all of its threads, and contain barriers.
class BlockSelect {
 public:
  static constexpr size_t bytes = sizeof(unsigned) * CutPass::bins + sizeof(int) * (block_threads / warp_size);

  explicit SPARSEXMC_DEVICE BlockSelect(unsigned char* shared)
      : counts_(reinterpret_cast<unsigned*>(shared)), warps_(reinterpret_cast<int*>(counts_ + CutPass::bins)) {}

  /// Sum over the block.
  SPARSEXMC_DEVICE int sum(int value) const { return rank(warp_sum(value), 0).total; }

  /// The cut that takes the n smallest of `size` keys; n is at most the number of keys below 2^31.
  SPARSEXMC_DEVICE Cut lowest(const uint32_t* keys, int size, int n) const {
    Cut cut{0, n};
    for (int number = 0; number < CutPass::passes; ++number) {
      const CutPass pass(number);
      for (int i = static_cast<int>(threadIdx.x); i < CutPass::bins; i += block_threads) counts_[i] = 0;
      __syncthreads();
      for (int i = static_cast<int>(threadIdx.x); i < size; i += block_threads) pass.count(counts_, keys[i], cut);
      __syncthreads();
      cut = pass.narrow(counts_, cut);
      __syncthreads();
    }
    return cut;
  }

  /// Calls body(i, taken, rank) for every i < size: does the cut take keys[i], and how many does it take before?
  template <class Body>
  SPARSEXMC_DEVICE void partition(const uint32_t* keys, int size, const Cut& cut, Body&& body) const {
    int equal_before = 0, taken_before = 0;
    for (int first = 0; first < size; first += block_threads) {
      const int i = first + static_cast<int>(threadIdx.x);
      const uint32_t key = i < size ? keys[i] : UINT32_MAX;
      const Rank equal = rank(key == cut.key);
      const bool taken = key < cut.key || (key == cut.key && equal_before + equal.before < cut.ties);
      const Rank place = rank(taken);
      if (i < size) body(i, taken, taken_before + place.before);
      equal_before += equal.total;
      taken_before += place.total;
    }
  }

 private:
  struct Rank {
    int before, total;
  };
  /// How many threads before this one, and in the block, say yes.
  SPARSEXMC_DEVICE Rank rank(bool yes) const {
    const unsigned votes = __ballot_sync(full_warp, yes);
    return rank(__popc(votes), __popc(votes & ((1u << lane()) - 1)));
  }
  /// @param of_warp what the warp adds  @param before the part of it before this thread
  SPARSEXMC_DEVICE Rank rank(int of_warp, int before) const {
    if (lane() == 0) warps_[warp()] = of_warp;
    __syncthreads();
    int total = 0;
    for (int i = 0; i < block_threads / warp_size; ++i) {
      if (i == warp()) before += total;
      total += warps_[i];
    }
    __syncthreads();
    return {before, total};
  }

  unsigned* counts_;  // [bins]
  int* warps_;
};

}  // namespace sparsexmc::cuda

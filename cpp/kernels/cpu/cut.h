// The n smallest of many scores without sorting or storing them: a search for the n-th smallest, digit by digit.
#pragma once

#include "score_cut.h"
#include "simd.h"

namespace sparsexmc::cpu::SPARSEXMC_ISA {

/// Finds the cut that takes n keys. Counts may be summed from anywhere, so the result does not depend on who counted
/// what.
class CutSearch {
 public:
  static constexpr int passes = CutDigit::passes;
  static constexpr int64_t bins = CutDigit::bins;

  explicit CutSearch(int64_t n) { cut_.ties = n; }

  /// Adds to counts[bins].
  SPARSEXMC_INLINE void count(int64_t* counts, const uint32_t* keys, int64_t n) const {
    for (int64_t i = 0; i < n; ++i)
      if (digit_.matches(keys[i], cut_)) ++counts[digit_.of(keys[i])];
  }

  /// Ends a pass.
  SPARSEXMC_INLINE void narrow(const int64_t* counts) {
    uint32_t digit = 0;
    int64_t ties = cut_.ties;
    while (ties > counts[digit]) ties -= counts[digit++];
    cut_ = digit_.extended(cut_, digit, ties);
    digit_ = CutDigit(++pass_);
  }

  Cut cut() const { return cut_; }

 private:
  Cut cut_;
  int pass_ = 0;
  CutDigit digit_{0};
};

/// The cut that takes the n smallest of `size` keys; n is at most the number of keys below 2^31.
inline Cut lowest(const uint32_t* keys, int64_t size, int64_t n) {
  CutSearch search(n);
  for (int pass = 0; pass < CutSearch::passes; ++pass) {
    int64_t counts[CutSearch::bins] = {};
    search.count(counts, keys, size);
    search.narrow(counts);
  }
  return search.cut();
}

}  // namespace sparsexmc::cpu::SPARSEXMC_ISA

// The n smallest of many scores without sorting or storing them: a search for the n-th smallest, digit by digit.
#pragma once

#include "kernels.h"
#include "simd.h"

namespace sparsexmc::cpu::SPARSEXMC_ISA {

/// Scores are compared by their bits, which for non-negative floats rise with the value: keys of 31 bits.
SPARSEXMC_INLINE uint32_t score_key(float score) { return __builtin_bit_cast(uint32_t, score); }
SPARSEXMC_INLINE float key_score(uint32_t key) { return __builtin_bit_cast(float, key); }

/// Stands for the keys below `key` and, in the order of their positions, the first `ties` of those equal to it.
struct Cut {
  uint32_t key = 0;
  int64_t ties = 0;

  /// Is this key among them? To be asked once per position, in order.
  SPARSEXMC_INLINE bool takes(uint32_t k) { return k < key || (k == key && ties-- > 0); }
};

/// Finds the cut that takes n keys. Every pass counts the keys that share the digits known so far by their next digit;
/// counts may be summed from anywhere, so the result does not depend on who counted what.
class CutSearch {
 public:
  static constexpr int passes = 3;
  static constexpr int64_t bins = 2048;

  explicit CutSearch(int64_t n) { cut_.ties = n; }

  /// Adds to counts[bins]. Keys of 32 bits are never counted.
  SPARSEXMC_INLINE void count(int64_t* counts, const uint32_t* keys, int64_t n) const {
    for (int64_t i = 0; i < n; ++i)
      if (keys[i] >> shift_ >> bits_ == cut_.key) ++counts[keys[i] >> shift_ & ((1u << bits_) - 1)];
  }

  /// Ends a pass.
  SPARSEXMC_INLINE void narrow(const int64_t* counts) {
    uint32_t digit = 0;
    while (cut_.ties > counts[digit]) cut_.ties -= counts[digit++];
    cut_.key = cut_.key << bits_ | digit;
    bits_ = 10;
    shift_ -= 10;
  }

  Cut cut() const { return cut_; }

 private:
  Cut cut_;
  int bits_ = 11;  // of the present digit: 11, 10, 10
  int shift_ = 20;
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

// Random features of a group: unique, ascending, from one Philox stream.
#pragma once

#include "kernels.h"
#include "rng.h"

namespace sparsexmc::cpu::SPARSEXMC_ISA {

/// Features of one group as a bitmap; small enough for a stack.
class FeatureSet {
 public:
  static constexpr int64_t max_features = 131072;

  SPARSEXMC_HD explicit FeatureSet(int64_t features) : words_(ceil_div(features, 64)) {
    __builtin_memset(word_, 0, static_cast<size_t>(words_) * sizeof(uint64_t));
  }
  SPARSEXMC_HD bool has(int64_t f) const { return (word_[f >> 6] >> (f & 63) & 1) != 0; }
  SPARSEXMC_HD void insert(int64_t f) { word_[f >> 6] |= uint64_t{1} << (f & 63); }
  /// emit(feature) for every feature, ascending.
  template <class Emit>
  SPARSEXMC_HD void for_each(Emit&& emit) const {
    for (int64_t i = 0; i < words_; ++i)
      for (uint64_t rest = word_[i]; rest != 0; rest &= rest - 1) emit(i * 64 + __builtin_ctzll(rest));
  }

 private:
  int64_t words_;
  uint64_t word_[max_features / 64];
};

/// Where a group's random numbers come from: slots 0, 1, 2, ... of a key.
struct WordStream {
  uint64_t seed;
  rng::Purpose purpose;
  uint64_t step;
  uint64_t row;
  uint32_t slot = 0;
  rng::Block block = {};

  SPARSEXMC_HD uint32_t next() {
    if (slot % 4 == 0) block = rng::draw(seed, purpose, step, row, slot / 4);
    return block.word[slot++ % 4];
  }
};

/// emit(feature), ascending, for n features outside `taken`, uniformly at random without replacement.
/// The size of `taken` is given; n <= features - size.
template <class Emit>
inline void choose_features(const FeatureSet& taken, int64_t size, int64_t features, int64_t n, WordStream stream,
                            Emit&& emit) {
  if (2 * (size + n) <= features) {  // few: draw until it is new, twice at most on average
    FeatureSet chosen(features);
    for (int64_t i = 0; i < n;) {
      const int64_t f = rng::below(stream.next(), static_cast<uint32_t>(features));
      if (taken.has(f) || chosen.has(f)) continue;
      chosen.insert(f);
      ++i;
    }
    chosen.for_each(emit);
  } else {  // many: selection sampling (Knuth, TAOCP vol. 2, 3.4.2, algorithm S)
    int64_t left = features - size;
    for (int64_t f = 0; n > 0; ++f) {
      if (taken.has(f)) continue;
      if (rng::below(stream.next(), static_cast<uint32_t>(left--)) >= n) continue;
      emit(f);
      --n;
    }
  }
}

}  // namespace sparsexmc::cpu::SPARSEXMC_ISA

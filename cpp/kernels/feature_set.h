// Random features of a group: unique, ascending, from one Philox stream. The same choice on every device.
#pragma once

#include "rng.h"

namespace sparsexmc {

/// Features as a bitmap in words that somebody else holds: a stack on the CPU, a block's shared memory on a GPU.
class FeatureSet {
 public:
  static constexpr int64_t max_features = 131072;
  static constexpr int64_t max_words = max_features / 64;
  static SPARSEXMC_HD int64_t words(int64_t features) { return ceil_div(features, 64); }

  /// @param words room for words(features) of them, not cleared here
  SPARSEXMC_HD FeatureSet(uint64_t* words, int64_t features) : word_(words), words_(FeatureSet::words(features)) {}

  SPARSEXMC_HD void clear() {
    for (int64_t i = 0; i < words_; ++i) word_[i] = 0;
  }
  SPARSEXMC_HD bool has(int64_t f) const { return (word_[f >> 6] >> (f & 63) & 1) != 0; }
  SPARSEXMC_HD void insert(int64_t f) { word_[f >> 6] |= uint64_t{1} << (f & 63); }
  /// emit(feature) for every feature, ascending.
  template <class Emit>
  SPARSEXMC_HD void for_each(Emit&& emit) const {
    for (int64_t i = 0; i < words_; ++i)
      for (uint64_t rest = word_[i]; rest != 0; rest &= rest - 1) emit(i * 64 + lowest_bit(rest));
  }

 private:
  static SPARSEXMC_HD int lowest_bit(uint64_t word) {
#if defined(__CUDA_ARCH__)
    return __ffsll(static_cast<long long>(word)) - 1;
#else
    return __builtin_ctzll(word);
#endif
  }

  uint64_t* word_;
  int64_t words_;
};

/// The state of a group before its features are chosen: nothing.
struct NoFeatures {
  SPARSEXMC_HD bool has(int64_t) const { return false; }
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
/// The size of `taken` is given; n <= features - size. `chosen` is an empty set that may be filled.
template <class Taken, class Emit>
SPARSEXMC_HD void choose_features(const Taken& taken, int64_t size, int64_t features, int64_t n, WordStream stream,
                                  FeatureSet chosen, Emit&& emit) {
  if (2 * (size + n) <= features) {  // few: draw until it is new, twice at most on average
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

}  // namespace sparsexmc

// Keys of rewiring scores, and the cut through them that takes the n smallest: what the searches of all devices share.
#pragma once

#include "float16.h"
#include "integers.h"

namespace sparsexmc {

/// Scores are compared by their bits, which for non-negative floats rise with the value: keys of 31 bits.
SPARSEXMC_HD uint32_t score_key(float score) { return float_bits(score); }
SPARSEXMC_HD float key_score(uint32_t key) { return bits_float(key); }

/// Turned round for growth, so that the largest gradient has the smallest key. Key: uint32_t, or a vector of int32_t.
template <class Key>
SPARSEXMC_HD Key turned_key(Key key) {
  return 0x7FFFFFFF - key;
}
/// The norm of a growth key.
SPARSEXMC_HD float growth_norm(uint32_t key) { return key_score(turned_key(key)); }

/// Stands for the keys below `key` and, in the order of their positions, the first `ties` of those equal to it. During
/// the search: the digits of the key that are known, and how many of the keys with these digits are taken.
struct Cut {
  uint32_t key = 0;
  int64_t ties = 0;

  /// Whether this key is among them; to be asked once per position, in order.
  SPARSEXMC_HD bool takes(uint32_t k) { return k < key || (k == key && ties-- > 0); }
};

/// A pass of the search for the n-th smallest key: the keys that share the digits known so far are counted by their
/// next digit. Counts are integers, so it does not matter who counted what.
struct CutDigit {
  static constexpr int passes = 3, bins = 2048;

  int shift, bits;  // 11, 10 and 10 bits

  explicit SPARSEXMC_HD CutDigit(int pass) : shift(20 - 10 * pass), bits(pass == 0 ? 11 : 10) {}

  /// Keys of 32 bits are never counted.
  SPARSEXMC_HD bool matches(uint32_t key, const Cut& cut) const { return key >> shift >> bits == cut.key; }
  SPARSEXMC_HD uint32_t of(uint32_t key) const { return key >> shift & ((1u << bits) - 1); }
  /// The cut with one more digit. @param ties of the keys with that digit, how many are taken
  SPARSEXMC_HD Cut extended(const Cut& cut, uint32_t digit, int64_t ties) const {
    return {cut.key << bits | digit, ties};
  }
};

/// The connections of one group that go: those that the segment's cut takes, but no more than the weakest `room`.
/// @param own receives the group's part of the segment's cut  @param n receives their number
/// @param below, equal how many keys of the group lie below the segment's cut, and at it
/// @param key of the segment's cut  @param ties left at it
/// @returns whether `own` holds; else the cut through the group's own keys that takes n is wanted
template <class Int>
SPARSEXMC_HD bool group_cut(Cut& own, Int& n, Int below, Int equal, Int room, uint32_t key, int64_t& ties) {
  equal = static_cast<Int>(smaller<int64_t>(equal, ties));
  ties -= equal;
  own = {key, equal};
  n = smaller<Int>(below + equal, room);
  return n == below + equal;
}

}  // namespace sparsexmc

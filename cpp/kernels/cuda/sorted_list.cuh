// The best candidates of an instance as a list in order, and how one warp adds to it 32 at a time. A warp holds a run
// of 32 candidates as one per lane; sorting networks of exchanges between lanes (Batcher 1968) do the rest, so a list
// can be of any length and no lane ever waits for another's memory.
#pragma once

#include "device_compat.h"
#include "kernels.h"

namespace sparsexmc::cuda {

using kernels::Candidate;

/// Whether a is ranked before b. A strict total order: score descending, then user label id ascending. NaN is before
/// nothing.
SPARSEXMC_DEVICE bool before(const Candidate& a, const Candidate& b) {
  return a.score > b.score || (a.score == b.score && a.label < b.label);
}

/// The content of an unused place: ranked after every label.
SPARSEXMC_DEVICE Candidate no_candidate() { return {__uint_as_float(0xFF800000u), 0xFFFFFFFFu}; }

/// In one access of 8 bytes.
SPARSEXMC_DEVICE Candidate load_candidate(const Candidate* from) {
  const uint2 v = *reinterpret_cast<const uint2*>(from);
  return {__uint_as_float(v.x), v.y};
}
SPARSEXMC_DEVICE void store_candidate(Candidate* to, const Candidate& c) {
  *reinterpret_cast<uint2*>(to) = make_uint2(__float_as_uint(c.score), c.label);
}

SPARSEXMC_DEVICE Candidate shuffle(const Candidate& c, int source) {
  return {__shfl_sync(full_warp, c.score, source), __shfl_sync(full_warp, c.label, source)};
}
SPARSEXMC_DEVICE Candidate shuffle_xor(const Candidate& c, int lanes) {
  return {__shfl_xor_sync(full_warp, c.score, lanes), __shfl_xor_sync(full_warp, c.label, lanes)};
}

/// Brings each `size` lanes, which hold a bitonic run, into order: ascending and descending by turns, so that two
/// neighbours form the bitonic run of the next size. With 32 the warp's run is in order, the first candidate in lane 0.
SPARSEXMC_DEVICE void sort_bitonic(Candidate& mine, int size) {
  for (int distance = size / 2; distance > 0; distance /= 2) {
    const Candidate other = shuffle_xor(mine, distance);
    const bool takes_better = ((lane() & distance) == 0) == ((lane() & size) == 0);
    if (before(other, mine) == takes_better) mine = other;
  }
}

/// Sorts the warp's 32 candidates in any order.
SPARSEXMC_DEVICE void sort(Candidate& mine) {
#pragma unroll
  for (int size = 2; size <= 32; size *= 2) sort_bitonic(mine, size);
}

/// A sorted list of k places in global memory, unused ones at its end. All functions are for a whole warp. Lane l
/// alone touches the places l, l + 32, ...: while one warp works on a list, nothing needs to be synchronised.
class SortedList {
 public:
  SPARSEXMC_DEVICE SortedList(Candidate* places, int64_t k) : places_(places), k_(k) {}

  SPARSEXMC_DEVICE void clear() const {
    for (int64_t i = lane(); i < k_; i += 32) store_candidate(places_ + i, no_candidate());
  }

  /// The last place: who is not ranked before it stays out.
  SPARSEXMC_DEVICE Candidate last() const { return shuffle(run((k_ - 1) / 32 * 32), last_lane()); }

  /// Adds 32 candidates in order (lane 0 has the first). Returns the new last place.
  SPARSEXMC_DEVICE Candidate add(Candidate mine) const {
    Candidate listed = run(0);
    for (int64_t first = 0;; first += 32) {
      const Candidate next = run(first + 32);  // on its way while this run is merged
      if (before(shuffle(mine, 0), shuffle(listed, 31))) {
        // Of both runs, one of them reversed, the better of each pair are the 32 best; both halves are bitonic.
        const Candidate other = shuffle_xor(mine, 31);
        const bool keep = before(listed, other);
        mine = keep ? other : listed;
        listed = keep ? listed : other;
        sort_bitonic(listed, 32);
        if (first + lane() < k_) store_candidate(places_ + first + lane(), listed);
        if (first + 32 < k_) sort_bitonic(mine, 32);
      }
      if (first + 32 >= k_) return shuffle(listed, last_lane());
      listed = next;
    }
  }

  /// Adds what another list holds.
  SPARSEXMC_DEVICE void add(const SortedList& other) const {
    Candidate limit = last();
    for (int64_t first = 0; first < other.k_; first += 32) {
      const Candidate theirs = other.run(first);
      if (!before(shuffle(theirs, 0), limit)) return;
      limit = add(theirs);
    }
  }

 private:
  SPARSEXMC_DEVICE int last_lane() const { return static_cast<int>((k_ - 1) % 32); }
  SPARSEXMC_DEVICE Candidate run(int64_t first) const {
    return first + lane() < k_ ? load_candidate(places_ + first + lane()) : no_candidate();
  }

  Candidate* places_;
  int64_t k_;
};

}  // namespace sparsexmc::cuda

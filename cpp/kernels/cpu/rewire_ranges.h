// How a rewiring is cut into ranges of groups, and where its scratch lies.
//
// The ranges depend on sizes alone; sums and ties run over the groups of a range and then over the ranges, so that the
// result does not depend on the number of threads.
#pragma once

#include "cut.h"
#include "dense_gradient.h"
#include "kernels.h"

namespace sparsexmc::cpu::SPARSEXMC_ISA {

struct RangeRecord {
  double dropped = 0, grown = 0;  // sums of scores
  int64_t changed = 0;
  int64_t ties = 0;  // connections at the cut: of this range, then of the ranges before it
};

/// The ranges, and the scratch: their records, the scales of the features, then per worker counts, keys, grown features
/// and, for rigl, what the dense gradient needs.
class RewireRanges {
 public:
  static int64_t bytes(const Segment& s, int64_t ldx, int64_t kept, int64_t threads) {
    return shared_bytes(s) + threads * worker_bytes(s, ldx, kept);
  }

  explicit RewireRanges(const RewireStep& p)
      : p_(p),
        packs_(ceil_div(p.segment.groups, groups_together(p.segment.group_size))),
        ranges_(smaller(packs_, max_ranges)),
        kept_(p.method == RewiringMethod::rigl ? p.num_kept : 0) {}

  int64_t size() const { return ranges_; }
  RangeRecord& operator[](int64_t i) const { return static_cast<RangeRecord*>(p_.scratch)[i]; }
  int64_t first_group(int64_t range) const {
    return smaller(packs_ * range / ranges_ * groups_together(p_.segment.group_size), p_.segment.groups);
  }

  float* feature_scales() const {
    return reinterpret_cast<float*>(static_cast<char*>(p_.scratch) + max_ranges * sizeof(RangeRecord));
  }
  int64_t* counts(int worker) const {
    return reinterpret_cast<int64_t*>(static_cast<char*>(p_.scratch) + shared_bytes(p_.segment) +
                                      worker * worker_bytes(p_.segment, p_.ldx, kept_));
  }
  uint32_t* keys(int worker) const { return reinterpret_cast<uint32_t*>(counts(worker) + CutSearch::bins); }
  uint32_t* grown(int worker) const { return keys(worker) + padded_fan_in(p_.segment); }
  GradientScratch gradient(int worker) const {
    float* scratch = reinterpret_cast<float*>(grown(worker) + padded_fan_in(p_.segment));
    return GradientScratch(scratch, p_.segment, p_.ldx, kept_);
  }

 private:
  static constexpr int64_t max_ranges = 256;

  static int64_t padded_fan_in(const Segment& s) { return round_up(s.fan_in, column_padding); }
  static int64_t shared_bytes(const Segment& s) {
    return max_ranges * static_cast<int64_t>(sizeof(RangeRecord)) + round_up(4 * s.in_features, 64);
  }
  static int64_t worker_bytes(const Segment& s, int64_t ldx, int64_t kept) {
    const int64_t gradient = kept > 0 ? GradientScratch::floats(s, ldx, kept) : 0;
    return round_up(8 * CutSearch::bins + 4 * (2 * padded_fan_in(s) + gradient), 64);
  }

  const RewireStep& p_;
  int64_t packs_, ranges_;
  int64_t kept_;  // batches of the dense gradient
};

}  // namespace sparsexmc::cpu::SPARSEXMC_ISA

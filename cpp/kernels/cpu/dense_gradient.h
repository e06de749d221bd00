// RigL's growth scores: the gradient that the rows of a group would have if they read every feature.
#pragma once

#include "cut.h"
#include "fp32.h"
#include "group_step.h"
#include "positives.h"
#include "tiles.h"

namespace sparsexmc::cpu::SPARSEXMC_ISA {

using kernels::KeptBatch;
using kernels::RewireStep;
using kernels::Segment;

/// Small groups are handled several at a time, so that the lanes of a vector, which are rows, are filled.
SPARSEXMC_INLINE int64_t groups_together(int64_t group_size) { return larger<int64_t>(1, column_padding / group_size); }

/// A worker's scratch for one pack of groups.
struct GradientScratch {
  float* z;        // [rows, strip_columns]: logits
  float* d;        // [rows, strip_columns]: dloss/dlogit
  float* dt;       // [kept, ldx, ldg]: its transpose
  float* dw;       // [feature_block, ldg]
  float* dwt;      // [ldg, feature_block]
  float* db;       // [ldg]: gradient of the bias, not used
  uint32_t* keys;  // [groups of the pack, ld_keys]
  int64_t ldg, ld_keys;

  static int64_t floats(const Segment& s, int64_t ldx, int64_t kept) {
    return lanes(s) * (2 * strip_columns + kept * ldx + 2 * feature_block + 1) +
           groups_together(s.group_size) * padded_features(s);
  }
  GradientScratch(float* scratch, const Segment& s, int64_t ldx, int64_t kept)
      : ldg(lanes(s)), ld_keys(padded_features(s)) {
    z = scratch;
    d = z + ldg * strip_columns;
    dt = d + ldg * strip_columns;
    dw = dt + kept * ldx * ldg;
    dwt = dw + feature_block * ldg;
    db = dwt + ldg * feature_block;
    keys = reinterpret_cast<uint32_t*>(db + ldg);
  }

 private:
  static int64_t lanes(const Segment& s) {
    return round_up(groups_together(s.group_size) * s.group_size, column_padding);
  }
  static int64_t padded_features(const Segment& s) { return round_up(s.in_features, feature_block); }
};

/// Transposed loss gradients of `groups` groups for every kept batch, from the present weights; the mean over the
/// instances of a batch and over the batches is in their scale.
template <class Formula>
inline void kept_loss_gradients(const RewireStep& p, const GradientScratch& s, int64_t first_group, int64_t groups) {
  const int64_t size = p.segment.group_size, rows = groups * size, first_row = first_group * size;
  for (int64_t k = 0; k < p.num_kept; ++k) {
    const KeptBatch& kept = p.kept[k];
    const int64_t all_columns = round_up(kept.batch, column_padding);
    const int64_t cursor = first_positive(kept.positives, kept.num_positives, first_row);
    const LossInputs in{1.0f / static_cast<float>(kept.batch * p.num_kept), kept.instance_weights, kept.normaliser,
                        kept.ldx, p.logit_scale};
    double total = 0.0;
    for (int64_t b = 0; b < all_columns; b += strip_columns) {
      const int64_t columns = smaller(strip_columns, all_columns - b);
      for (int64_t i = 0; i < groups; ++i)
        group_logits(s.z + i * size * strip_columns, strip_columns, p.segment, first_group + i, fp32(kept.xt) + b,
                     kept.ldx, columns);
      group_loss<Formula>(s.d, s.db, s.z, p.segment, rows, smaller(rows, p.segment.rows - first_row), first_row, b,
                          columns, kept.batch, kept.positives, kept.num_positives, cursor, in.at(b), total);
      transpose_block(s.dt + (k * p.ldx + b) * s.ldg, s.ldg, s.d, strip_columns, rows, columns);
    }
  }
}

/// Growth keys of `groups` groups: sum over the rows of |gradient| for every feature, turned round so that the largest
/// gradient has the smallest key.
template <class Formula>
inline void growth_keys(const RewireStep& p, const GradientScratch& s, int64_t first_group, int64_t groups) {
  const int64_t size = p.segment.group_size;
  kept_loss_gradients<Formula>(p, s, first_group, groups);
  for (int64_t f = 0; f < p.segment.in_features; f += feature_block) {
    const int features = static_cast<int>(smaller<int64_t>(feature_block, p.segment.in_features - f));
    for (int64_t i = 0; i < features * s.ldg; i += width) store(s.dw + i, Vec{});
    for (int64_t k = 0; k < p.num_kept; ++k) {
      const KeptBatch& kept = p.kept[k];
      int64_t offset[feature_block];
      for (int i = 0; i < features; ++i) offset[i] = (f + i) * kept.ldx;
      for (int64_t b = 0; b < kept.batch; b += strip_columns)
        dw_block(s.dw, s.ldg, fp32(kept.xt) + b, offset, features, s.dt + (k * p.ldx + b) * s.ldg,
                 smaller(strip_columns, kept.batch - b));
    }
    transpose_block(s.dwt, feature_block, s.dw, s.ldg, features, s.ldg);
    for (int64_t group = 0; group < groups; ++group)
      for (int64_t i = 0; i < feature_block; i += width) {
        Vec norm = {};
        for (int64_t g = group * size; g < (group + 1) * size; ++g)
          norm = norm - negative_abs(load(s.dwt + g * feature_block + i));
        const VecI key = turned_key(bits(norm));
        __builtin_memcpy(s.keys + group * s.ld_keys + f + i, &key, sizeof key);
      }
  }
}

}  // namespace sparsexmc::cpu::SPARSEXMC_ISA

// The fused step with products that read bf16: the same order of work as group_step.h, on panels for matrix units.
// Weights, their state, logits, the loss and all sums stay fp32. A dense segment takes several groups at a time, so
// that dX, which all of them add to, is read and written once for all.
#pragma once

#include <utility>

#include "bf16_batch.h"
#include "group_step.h"
#include "tile_products.h"

namespace sparsexmc::cpu::SPARSEXMC_ISA {

/// Groups that are handled as one: those of a dense segment read the same features.
SPARSEXMC_HD int64_t bf16_groups_together(const kernels::Segment& s) {
  return s.dense ? larger<int64_t>(1, 64 / s.group_size) : 1;
}

/// Labels with a fan-in of their own: vectors of instances, no products of matrices.
SPARSEXMC_HD bool per_label(const kernels::Segment& s) { return s.group_size == 1 && !s.dense; }
SPARSEXMC_HD bool in_bf16(const kernels::Segment& s, DType compute) {
  return compute == DType::bfloat16 && !per_label(s);
}
/// Floats of scratch that the workers share, before theirs.
SPARSEXMC_HD int64_t shared_scratch(const kernels::Segment& s, int64_t ldx, DType compute) {
  return in_bf16(s, compute) ? worker_floats(Bf16Batch::floats(s.in_features, ldx)) : 0;
}

/// A worker's scratch, for the labels of the groups that are handled as one.
struct Bf16Scratch {
  float* z;   // [labels, strip_columns]: logits of a strip; here and below, whole blocks of 16 rows
  float* d;   // [labels, strip_columns]: dloss/dlogit
  float* c;   // [32, strip_columns]: dX of a few features, before it is added where they are
  float* db;  // [labels]
  float* dw;  // [fan_in, ldg]: summed over the batch
  int64_t ldg;
  Bf16 *w, *wt;                           // left: [fan_in, labels] and [labels, fan_in]
  Bf16 *d_left, *d_labels, *d_instances;  // left [labels, strip]; right over labels and over instances
  Bf16 *x, *x_features;                   // gathered features: left [fan_in, strip]; right over features
  Bf16* row;                              // [labels]

  static int64_t labels(const kernels::Segment& s) {
    return round_up(bf16_groups_together(s) * s.group_size, tile_rows);
  }
  static int64_t floats(const kernels::Segment& s) {
    const int64_t ldg = labels(s), gathered = s.dense ? 0 : s.fan_in;
    return (2 * ldg + 32) * strip_columns + ldg * (2 + round_up(s.fan_in, tile_rows)) +
           2 * panel_floats(s.fan_in, ldg) + 3 * panel_floats(ldg, strip_columns) +
           2 * panel_floats(gathered, strip_columns);
  }
  Bf16Scratch(float* scratch, const kernels::Segment& s) : ldg(labels(s)) {
    const int64_t gathered = s.dense ? 0 : s.fan_in;
    const auto take = [&](int64_t floats) { return std::exchange(scratch, scratch + floats); };
    const auto take_panel = [&](int64_t m, int64_t n) { return reinterpret_cast<Bf16*>(take(panel_floats(m, n))); };
    z = take(ldg * strip_columns);
    d = take(ldg * strip_columns);
    c = take(32 * strip_columns);
    db = take(ldg);
    dw = take(ldg * round_up(s.fan_in, tile_rows));
    row = reinterpret_cast<Bf16*>(take(ldg));
    w = take_panel(s.fan_in, ldg);
    wt = take_panel(s.fan_in, ldg);
    d_left = take_panel(ldg, strip_columns);
    d_labels = take_panel(ldg, strip_columns);
    d_instances = take_panel(ldg, strip_columns);
    x = take_panel(gathered, strip_columns);
    x_features = take_panel(gathered, strip_columns);
  }
};

/// Zero for rows [rows, 32 blocks32(rows)) of a left panel.
SPARSEXMC_INLINE void zero_padding(Bf16* panel, int64_t depth, int64_t rows) {
  for (int64_t r = rows; r < 32 * blocks32(rows); ++r)
    for (int64_t j = 0; j < depth; ++j)
      std::memset(panel_row(panel, depth, r) + j * tile_elements, 0, tile_depth * sizeof(Bf16));
}

/// Both panels of the weights of `groups` groups.
inline void pack_weights(const Bf16Scratch& s, const kernels::Segment& segment, int64_t first_group, int64_t groups) {
  const int64_t size = segment.group_size, labels = groups * size, depth = blocks32(labels);
  const float* w = fp32(segment.weights) + first_group * segment.fan_in * size;
  for (int64_t f = 0; f < segment.fan_in; ++f) {
    for (int64_t q = 0; q < groups; ++q) narrow(s.row + q * size, w + (q * segment.fan_in + f) * size, size);
    Bf16* row = panel_row(s.w, depth, f);
    for (int64_t j = 0; j < depth; ++j) {
      const int64_t count = smaller(labels - j * tile_depth, tile_depth);
      Bf16* to = row + j * tile_elements;
      std::memcpy(to, s.row + j * tile_depth, static_cast<size_t>(count) * sizeof(Bf16));
      std::memset(to + count, 0, static_cast<size_t>(tile_depth - count) * sizeof(Bf16));
    }
  }
  zero_padding(s.w, depth, segment.fan_in);
  pair_panel(s.wt, s.w, blocks32(segment.fan_in), depth);
  for (int64_t t = 0; t < blocks16(labels) * blocks32(segment.fan_in); ++t)
    transpose_tile(s.wt + t * tile_elements, s.wt + t * tile_elements);
}

/// Both panels of the features of one group, for `depth` blocks of 32 instances from block `first` on.
template <class Index>
inline void gather_features(const Bf16Scratch& s, const Bf16Batch& batch, const Index* features, int64_t fan_in,
                            int64_t first, int64_t depth) {
  for (int64_t f = 0; f < fan_in; ++f) {
    const Bf16* from = panel_row(batch.left, blocks32(batch.columns), features[f]) + first * tile_elements;
    Bf16* to = panel_row(s.x, depth, f);
    for (int64_t j = 0; j < depth; ++j) copy_row(to + j * tile_elements, from + j * tile_elements);
  }
  zero_padding(s.x, depth, fan_in);
  pair_panel(s.x_features, s.x, blocks32(fan_in), depth);
}

/// The three panels of D [labels, columns].
inline void pack_gradients(const Bf16Scratch& s, int64_t labels, int64_t columns) {
  const int64_t depth = blocks32(columns);
  for (int64_t g = 0; g < labels; ++g) narrow_into(panel_row(s.d_left, depth, g), s.d + g * strip_columns, columns);
  zero_padding(s.d_left, depth, labels);
  pair_panel(s.d_labels, s.d_left, blocks32(labels), depth);
  for (int64_t t = 0; t < blocks16(labels) * depth; ++t)
    transpose_tile(s.d_instances + t * tile_elements, s.d_left + t * tile_elements);
}

/// dX[feature(f), strip] += W[f] D for features [first, fan_in), whose rows lie apart.
template <class Feature>
inline void add_dx(const FanInStep& p, const Bf16Scratch& s, float* dx, int64_t first, int64_t labels, int64_t columns,
                   Feature&& feature) {
  const int64_t depth = blocks32(labels);
  for (int64_t f = first; f < p.segment.fan_in; f += 32) {
    const int64_t features = smaller<int64_t>(32, p.segment.fan_in - f);
    multiply_panels(s.c, columns, false, panel_row(s.w, depth, f), depth, blocks16(features), s.d_labels, depth,
                    blocks16(columns), depth);
    for (int64_t i = 0; i < features; ++i) {
      float* out = dx + feature(f + i) * p.ldx;
      const float* sum = s.c + i * columns;
      for (int64_t b = 0; b < columns; b += width) store(out + b, load(out + b) + load(sum + b));
    }
  }
}

/// The panels of a strip's features that groups read.
struct StripFeatures {
  const Bf16 *left, *right;
  int64_t left_depth;
};

inline StripFeatures strip_features(const Bf16Scratch& s, const kernels::Segment& segment, const Bf16Batch& batch,
                                    int64_t first_group, int64_t first_column, int64_t columns) {
  if (segment.dense)
    return {batch.left + first_column / tile_depth * tile_elements,
            batch.right + first_column / tile_rows * blocks32(segment.fan_in) * tile_elements, blocks32(batch.columns)};
  visit_indices(segment, first_group, [&](const auto* features) {
    gather_features(s, batch, features, segment.fan_in, first_column / tile_depth, blocks32(columns));
  });
  return {s.x, s.x_features, blocks32(columns)};
}

/// z[labels, columns] = bias + W X of a strip, from packed weights.
inline void bf16_logits(const Bf16Scratch& s, const kernels::Segment& segment, const StripFeatures& x,
                        int64_t first_row, int64_t labels, int64_t columns) {
  const int64_t depth = blocks32(segment.fan_in);
  for (int64_t g = 0; g < blocks16(labels) * tile_rows; ++g) {
    const Vec bias = broadcast(g < labels ? segment.bias[first_row + g] : 0.0f);
    for (int64_t i = 0; i < columns; i += width) store(s.z + g * strip_columns + i, bias);
  }
  multiply_panels(s.z, strip_columns, true, s.wt, depth, blocks16(labels), x.right, depth, blocks16(columns), depth);
}

template <class Formula>
inline void bf16_group_step(const FanInStep& p, const Bf16Scratch& s, const Bf16Batch& batch, int64_t first_group,
                            int64_t groups, float* dx, int64_t cursor, double& total) {
  const kernels::Segment& segment = p.segment;
  const int64_t size = segment.group_size, labels = groups * size, first_row = first_group * size;
  const int64_t valid = smaller(labels, segment.rows - first_row), fan_in = segment.fan_in;
  const int64_t all_columns = round_up(p.batch, column_padding);
  const LossInputs in = loss_inputs(p);
  pack_weights(s, segment, first_group, groups);
  for (int64_t g = 0; g < s.ldg; ++g) s.db[g] = 0.0f;

  for (int64_t b = 0; b < all_columns; b += strip_columns) {
    const int64_t columns = smaller(strip_columns, all_columns - b);
    const StripFeatures x = strip_features(s, segment, batch, first_group, b, columns);
    bf16_logits(s, segment, x, first_row, labels, columns);
    group_loss<Formula>(s.d, s.db, s.z, segment, labels, valid, first_row, b, columns, p.batch, p.positives,
                        p.num_positives, cursor, in.at(b), total);
    pack_gradients(s, labels, columns);
    if (p.update)
      multiply_panels(s.dw, s.ldg, b > 0, x.left, x.left_depth, blocks16(fan_in), s.d_instances, blocks32(columns),
                      blocks16(labels), blocks32(columns));
    if (segment.dense) {
      const int64_t whole = fan_in / tile_rows;
      multiply_panels(dx + b, p.ldx, true, s.w, blocks32(labels), whole, s.d_labels, blocks32(labels),
                      blocks16(columns), blocks32(labels));
      add_dx(p, s, dx + b, whole * tile_rows, labels, columns, [](int64_t f) { return f; });
    } else {
      visit_indices(segment, first_group, [&](const auto* features) {
        add_dx(p, s, dx + b, 0, labels, columns, [&](int64_t f) { return static_cast<int64_t>(features[f]); });
      });
    }
  }

  if (!p.update) return;
  for (int64_t q = 0; q < groups; ++q)
    for (int64_t f = 0; f < fan_in; ++f)
      update_at(fp32(segment.weights), segment.weight_state, ((first_group + q) * fan_in + f) * size,
                s.dw + f * s.ldg + q * size, size, p.optimizer.weight_decay, p.optimizer);
  update_at(segment.bias, segment.bias_state, first_row, s.db, labels, 0.0f, p.optimizer);
}

}  // namespace sparsexmc::cpu::SPARSEXMC_ISA

// The fused step of one group, strip by strip: logits, loss gradient, dW and dX while the strip of X^T is in the
// first-level cache; the update at the end. Nothing here grows with the number of labels.
#pragma once

#include "fp32.h"
#include "loss.h"
#include "positives.h"
#include "tiles.h"
#include "update.h"

namespace sparsexmc::cpu::SPARSEXMC_ISA {

using kernels::FanInStep;

/// A worker's scratch for one group, carved from floats.
struct GroupScratch {
  float* z;   // [group_size, strip_columns]: logits of a strip
  float* d;   // [group_size, strip_columns]: dloss/dlogit
  float* dt;  // [strip_columns, ldg]: its transpose
  float* db;  // [ldg]
  float* dw;  // [fan_in, ldg]: summed over the batch
  int64_t ldg;

  static int64_t floats(int64_t group_size, int64_t fan_in) {
    const int64_t ldg = round_up(group_size, column_padding);
    return 2 * group_size * strip_columns + ldg * (strip_columns + 1 + fan_in);
  }
  GroupScratch(float* scratch, int64_t group_size) : ldg(round_up(group_size, column_padding)) {
    z = scratch;
    d = z + group_size * strip_columns;
    dt = d + group_size * strip_columns;
    db = dt + strip_columns * ldg;
    dw = db + ldg;
  }
};

/// D of one strip from its logits Z; loss and bias gradient are added to. Rows >= valid_rows and columns >= batch of D
/// become zero.
/// @param cursor first positive of this group  @param in a copy: through a reference every store could change it
template <class Formula>
inline void strip_loss(float* d, float* db, const float* z, const kernels::Segment& segment, int64_t rows,
                       int64_t valid_rows, int64_t first_row, int64_t first_column, int64_t columns, int64_t batch,
                       const Positive* positives, int64_t positives_end, int64_t cursor, LossInputs in, double& total) {
  const int64_t whole = smaller(columns, (batch - first_column) / width * width);
  constexpr int lanes = 4;  // independent running sums, so that their latencies overlap
  constexpr int64_t rows_per_flush = 32 / (strip_columns / (lanes * width));  // half of what LossSum allows, for tails
  static_assert(rows_per_flush >= 1);
  LossSum sums[lanes];
  for (int64_t g = 0; g < valid_rows; ++g) {
    const float* zg = z + g * strip_columns;
    float* dg = d + g * strip_columns;
    Vec bias_gradient[lanes] = {};
    int64_t c = 0;
    for (; c + lanes * width <= whole; c += lanes * width)
#pragma GCC unroll 4
      for (int i = 0; i < lanes; ++i) {
        const Vec dv = slopes<Formula, false>(load(zg + c + i * width), in, c + i * width, 0, sums[i]);
        store(dg + c + i * width, dv);
        bias_gradient[i] = bias_gradient[i] + dv;
      }
    for (; c < columns; c += width) {
      const Vec dv = slopes<Formula, true>(load(zg + c), in, c, batch - first_column - c, sums[0]);
      store(dg + c, dv);
      bias_gradient[0] = bias_gradient[0] + dv;
    }
    float row_gradient = sum((bias_gradient[0] + bias_gradient[1]) + (bias_gradient[2] + bias_gradient[3]));
    for (; cursor < positives_end && positives[cursor].row == first_row + g; ++cursor) {
      const int64_t column = static_cast<int64_t>(positives[cursor].column) - first_column;
      if (column < 0 || column >= columns) continue;
      const float weight = positive_weight(segment, first_row + g);
      const float right = positive_slope<Formula>(zg[column], dg[column], in, column, weight, total);
      row_gradient += right - dg[column];
      dg[column] = right;
    }
    db[g] += row_gradient;
    if (g % rows_per_flush == rows_per_flush - 1)
#pragma GCC unroll 4
      for (int i = 0; i < lanes; ++i) sums[i].flush();
  }
  for (int64_t g = valid_rows; g < rows; ++g)
    for (int64_t c = 0; c < columns; c += width) store(d + g * strip_columns + c, Vec{});
  for (int i = 0; i < lanes; ++i) total += static_cast<double>(sums[i].drain());
}

/// Of the batch of a step.
SPARSEXMC_INLINE LossInputs loss_inputs(const FanInStep& p) {
  return {p.loss_scale / static_cast<float>(p.batch), p.instance_weights, p.normaliser, p.ldx, p.logit_scale};
}

/// The same with weights of the instances, or without. A normaliser has them already.
template <class Formula>
SPARSEXMC_INLINE void group_loss(float* d, float* db, const float* z, const kernels::Segment& segment, int64_t rows,
                                 int64_t valid_rows, int64_t first_row, int64_t first_column, int64_t columns,
                                 int64_t batch, const Positive* positives, int64_t positives_end, int64_t cursor,
                                 const LossInputs& in, double& total) {
  const auto with = [&]<class F>(F) {
    strip_loss<F>(d, db, z, segment, rows, valid_rows, first_row, first_column, columns, batch, positives,
                  positives_end, cursor, in, total);
  };
  if constexpr (Formula::normalised) {
    with(Formula{});
  } else {
    if (in.instance_weights != nullptr)
      with(Weighted<Formula>{});
    else
      with(Formula{});
  }
}

template <class Formula>
inline void group_step(const FanInStep& p, const GroupScratch& s, int64_t group, float* dx, int64_t cursor,
                       double& total) {
  const kernels::Segment& segment = p.segment;
  const int64_t rows = segment.group_size, first_row = group * rows;
  const int64_t valid_rows = smaller(rows, segment.rows - first_row);
  const int64_t all_columns = round_up(p.batch, column_padding);
  const LossInputs in = loss_inputs(p);
  float* weights = fp32(segment.weights);
  const float* w = weights + group * segment.fan_in * rows;
  const float* xt = fp32(p.xt);
  for (int64_t i = 0; i < s.ldg; ++i) s.db[i] = 0.0f;
  for (int64_t i = 0; i < segment.fan_in * s.ldg; i += width) store(s.dw + i, Vec{});

  for (int64_t b = 0; b < all_columns; b += strip_columns) {
    const int64_t columns = smaller(strip_columns, all_columns - b);
    group_logits(s.z, strip_columns, segment, group, xt + b, p.ldx, columns);
    group_loss<Formula>(s.d, s.db, s.z, segment, rows, valid_rows, first_row, b, columns, p.batch, p.positives,
                        p.num_positives, cursor, in.at(b), total);
    transpose_block(s.dt, s.ldg, s.d, strip_columns, rows, columns);
    int64_t offset[feature_block];
    for (int64_t f = 0; f < segment.fan_in; f += feature_block) {
      const int features = static_cast<int>(smaller<int64_t>(feature_block, segment.fan_in - f));
      feature_offsets(offset, segment, group, f, features, p.ldx);
      if (p.update) dw_block(s.dw + f * s.ldg, s.ldg, xt + b, offset, features, s.dt, smaller(columns, p.batch - b));
      dx_block(dx + b, offset, features, w + f * rows, rows, rows, s.d, strip_columns, columns);
    }
  }

  if (!p.update) return;
  const int64_t at = group * segment.fan_in * rows;
  const float decay = p.optimizer.weight_decay;
  if (s.ldg == rows)
    update_at(weights, segment.weight_state, at, s.dw, segment.fan_in * rows, decay, p.optimizer);
  else
    for (int64_t f = 0; f < segment.fan_in; ++f)
      update_at(weights, segment.weight_state, at + f * rows, s.dw + f * s.ldg, rows, decay, p.optimizer);
  update_at(segment.bias, segment.bias_state, first_row, s.db, rows, 0.0f, p.optimizer);
}

}  // namespace sparsexmc::cpu::SPARSEXMC_ISA

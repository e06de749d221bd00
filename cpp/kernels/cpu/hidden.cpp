// The dense hidden layer: its weight [features, units] is one group whose rows are the units.
#include "activation.h"
#include "table.h"
#include "tiles.h"
#include "update.h"

namespace sparsexmc::cpu::SPARSEXMC_ISA {

using kernels::HiddenBackward;
using kernels::HiddenForward;

namespace {

/// Element offsets of input rows [first, first + count) in [features, ldx].
SPARSEXMC_INLINE void row_offsets(int64_t* offset, int64_t first, int count, int64_t ldx) {
  for (int i = 0; i < count; ++i) offset[i] = (first + i) * ldx;
}

/// dx of one block of features with the weights from before the update; columns outer, units in ascending order.
inline void input_gradient(const HiddenBackward& p, const int64_t* offset, int64_t first, int features,
                           int64_t columns) {
  for (int i = 0; i < features; ++i)
    for (int64_t c = 0; c < columns; c += width) store(p.dxt + offset[i] + c, Vec{});
  for (int64_t b = 0; b < columns; b += strip_columns)
    for (int64_t u = 0; u < p.units; u += unit_tile)
      dx_block(p.dxt + b, offset, features, p.weight + first * p.units + u, p.units, smaller(unit_tile, p.units - u),
               p.dht + u * p.ldx + b, p.ldx, smaller(strip_columns, columns - b));
}

}  // namespace

void hidden_forward(ThreadPool& threads, const HiddenForward& p) {
  constexpr int64_t unit_block = unit_tile / 2;  // its logits share the first-level cache with a strip of X^T
  const int64_t all_columns = round_up(p.batch, column_padding);
  const int64_t blocks = ceil_div(p.units, unit_block);
  parallel_for(threads, blocks * ceil_div(all_columns, strip_columns), [&](int64_t item, int) {
    const int64_t u = item % blocks * unit_block, b = item / blocks * strip_columns;
    const int64_t units = smaller(unit_block, p.units - u), columns = smaller(strip_columns, all_columns - b);
    alignas(64) float z[unit_block * strip_columns];
    for (int64_t i = 0; i < units; ++i)
      for (int64_t c = 0; c < columns; c += width) store(z + i * strip_columns + c, broadcast(p.bias[u + i]));
    int64_t offset[feature_block];
    for (int64_t f = 0; f < p.features; f += feature_block) {
      const int count = static_cast<int>(smaller<int64_t>(feature_block, p.features - f));
      row_offsets(offset, f, count, p.ldx);
      forward_block(z, strip_columns, p.weight + f * p.units + u, p.units, units, fp32(p.xt) + b, offset, count,
                    columns);
    }
    activate(fp32(p.ht) + u * p.ldx + b, z, u, units, b, columns, p);
  });
}

int64_t hidden_backward_scratch(const kernels::Machine& machine, int64_t, int64_t units, int64_t ldx, DType) {
  const int64_t floats = round_up(units, column_padding) * ldx + machine.workers * feature_block * unit_tile;
  return floats * static_cast<int64_t>(sizeof(float));
}

void hidden_backward(ThreadPool& threads, const HiddenBackward& p) {
  const int64_t all_columns = round_up(p.batch, column_padding);
  float* dt = fp32(p.scratch);  // the tile of units from u lies at u * ldx, as [instances, its lanes]
  float* gradients = dt + round_up(p.units, column_padding) * p.ldx;
  parallel_for(threads, ceil_div(p.units, unit_tile), [&](int64_t item, int) {
    const int64_t u = item * unit_tile, units = smaller(unit_tile, p.units - u);
    float db[unit_tile];
    activation_gradient(p.dht + u * p.ldx, db, fp32(p.ht) + u * p.ldx, units, all_columns, p.ldx, p.dropout);
    transpose_block(dt + u * p.ldx, round_up(units, column_padding), p.dht + u * p.ldx, p.ldx, units, all_columns);
    if (p.bias != nullptr) update_at(p.bias, p.bias_state, u, db, units, 0.0f, p.optimizer);
  });
  parallel_for(threads, ceil_div(p.features, feature_block), [&](int64_t item, int worker) {
    const int64_t f = item * feature_block;
    const int features = static_cast<int>(smaller<int64_t>(feature_block, p.features - f));
    int64_t offset[feature_block];
    row_offsets(offset, f, features, p.ldx);
    if (p.dxt != nullptr) input_gradient(p, offset, f, features, all_columns);
    if (p.bias == nullptr) return;
    float* dw = gradients + worker * feature_block * unit_tile;
    for (int64_t u = 0; u < p.units; u += unit_tile) {
      const int64_t units = smaller(unit_tile, p.units - u), lanes = round_up(units, column_padding);
      for (int64_t i = 0; i < features * lanes; i += width) store(dw + i, Vec{});
      for (int64_t b = 0; b < p.batch; b += strip_columns)
        dw_block(dw, lanes, fp32(p.xt) + b, offset, features, dt + u * p.ldx + b * lanes,
                 smaller(strip_columns, p.batch - b));
      for (int i = 0; i < features; ++i)
        update_at(p.weight, p.weight_state, (f + i) * p.units + u, dw + i * lanes, units, p.optimizer.weight_decay,
                  p.optimizer);
    }
  });
}

}  // namespace sparsexmc::cpu::SPARSEXMC_ISA

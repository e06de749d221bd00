// The hidden layer over sparse rows. Memory-bound: feature rows of the weight are scattered over gigabytes, so the next
// one is fetched while the present one is summed.
#include "activation.h"
#include "table.h"
#include "tiles.h"
#include "update.h"

namespace sparsexmc::cpu::SPARSEXMC_ISA {

using kernels::SparseHiddenBackward;
using kernels::SparseHiddenForward;

namespace {

inline constexpr int row_vectors = 12;  // vectors of units summed in registers

SPARSEXMC_INLINE void prefetch(const float* row, int64_t n) {
  for (int64_t i = 0; i < n; i += 16) __builtin_prefetch(row + i);
}

/// out[0:V*width] = start + sum over entries of value(i) * row(i). `row` and `value` are functions of the entry.
template <int V, class Row, class Value>
SPARSEXMC_INLINE void sum_rows(float* out, const float* start, int64_t begin, int64_t end, Row&& row, Value&& value) {
  Vec acc[V];
#pragma GCC unroll 16
  for (int v = 0; v < V; ++v) acc[v] = start == nullptr ? Vec{} : load(start + v * width);
  for (int64_t i = begin; i < end; ++i) {
    const float* w = row(i);
    prefetch(row(smaller(i + 1, end - 1)), V * width);
    const Vec x = broadcast(value(i));
#pragma GCC unroll 16
    for (int v = 0; v < V; ++v) acc[v] += x * load(w + v * width);
  }
#pragma GCC unroll 16
  for (int v = 0; v < V; ++v) store(out + v * width, acc[v]);
}

/// The same for the last n < width units; the lanes after them become zero.
template <class Row, class Value>
SPARSEXMC_INLINE void sum_tails(float* out, const float* start, int64_t n, int64_t begin, int64_t end, Row&& row,
                                Value&& value) {
  Vec acc = start == nullptr ? Vec{} : load_first(start, n);
  for (int64_t i = begin; i < end; ++i) acc += broadcast(value(i)) * load_first(row(i), n);
  store(out, acc);
}

/// Calls whole.template operator()<V>(u) over tiles of units, then tail(u, n) for n < width units that are left.
template <class Whole, class Tail>
SPARSEXMC_INLINE void for_unit_tiles(int64_t units, Whole&& whole, Tail&& tail) {
  int64_t u = 0;
  for (; u + row_vectors * width <= units; u += row_vectors * width) whole.template operator()<row_vectors>(u);
  for (; u + 4 * width <= units; u += 4 * width) whole.template operator()<4>(u);
  for (; u + width <= units; u += width) whole.template operator()<1>(u);
  if (u < units) tail(u, units - u);
}

}  // namespace

void sparse_hidden_forward(ThreadPool& threads, const SparseHiddenForward& p) {
  const int64_t lanes = round_up(p.units, column_padding);
  parallel_for(threads, p.batch, [&](int64_t b, int) {
    float* out = p.rows_scratch + b * lanes;
    for (int64_t u = p.units / width * width; u < lanes; u += width) store(out + u, Vec{});
    const int64_t begin = p.indptr[b], end = p.indptr[b + 1];
    const auto value = [&](int64_t i) { return p.values[i]; };
    for_unit_tiles(
        p.units,
        [&]<int V>(int64_t u) {
          sum_rows<V>(
              out + u, p.bias + u, begin, end, [&](int64_t i) { return p.weight + p.columns[i] * p.units + u; }, value);
        },
        [&](int64_t u, int64_t n) {
          sum_tails(
              out + u, p.bias + u, n, begin, end, [&](int64_t i) { return p.weight + p.columns[i] * p.units + u; },
              value);
        });
  });

  constexpr int64_t unit_block = unit_tile / 2;
  const int64_t all_columns = round_up(p.batch, column_padding);
  const int64_t blocks = ceil_div(p.units, unit_block);
  parallel_for(threads, blocks * ceil_div(all_columns, strip_columns), [&](int64_t item, int) {
    const int64_t u = item % blocks * unit_block, b = item / blocks * strip_columns;
    alignas(64) float z[unit_block * strip_columns];
    transpose_block(z, strip_columns, p.rows_scratch + b * lanes + u, lanes, smaller(strip_columns, p.batch - b),
                    smaller(unit_block, lanes - u));
    activate(fp32(p.ht) + u * p.ldx + b, z, u, smaller(unit_block, p.units - u), b,
             smaller(strip_columns, all_columns - b), p);
  });
}

void sparse_hidden_backward(ThreadPool& threads, const SparseHiddenBackward& p) {
  const int64_t all_columns = round_up(p.batch, column_padding);
  const int64_t lanes = round_up(p.units, column_padding);
  parallel_for(threads, ceil_div(p.units, unit_tile), [&](int64_t item, int) {
    const int64_t u = item * unit_tile, units = smaller(unit_tile, p.units - u);
    float db[unit_tile];
    activation_gradient(p.dht + u * p.ldx, db, fp32(p.ht) + u * p.ldx, units, all_columns, p.ldx, p.dropout);
    update_at(p.bias, p.bias_state, u, db, units, 0.0f, p.optimizer);
  });
  parallel_for(threads, all_columns / column_padding, [&](int64_t item, int) {
    const int64_t b = item * column_padding;
    transpose_block(p.rows_scratch + b * lanes, lanes, p.dht + b, p.ldx, p.units, column_padding);
  });

  // Enough rows per item that handing it out costs nothing; each row is updated by one item alone.
  const int64_t runs_per_item = ceil_div(65536, p.units);
  parallel_for(threads, ceil_div(p.num_runs, runs_per_item), [&](int64_t item, int) {
    alignas(64) float gradient[row_vectors * width];
    const auto instance_row = [&](int64_t i) { return p.rows_scratch + p.entries[i].instance * lanes; };
    const auto value = [&](int64_t i) { return p.entries[i].value; };
    const int64_t last = smaller((item + 1) * runs_per_item, p.num_runs);
    for (int64_t run = item * runs_per_item; run < last; ++run) {
      const int64_t begin = p.runs[run], end = p.runs[run + 1];
      const int64_t at = static_cast<int64_t>(p.entries[begin].feature) * p.units;
      const int64_t next = static_cast<int64_t>(p.entries[p.runs[smaller(run + 1, last - 1)]].feature) * p.units;
      const auto update = [&](int64_t u, int64_t n) {
        prefetch(p.weight + next + u, n);
        for (const StoredTensor& state : p.weight_state)
          if (state.data != nullptr) prefetch(fp32(state) + next + u, n);
        update_at(p.weight, p.weight_state, at + u, gradient, n, p.optimizer.weight_decay, p.optimizer);
      };
      for_unit_tiles(
          p.units,
          [&]<int V>(int64_t u) {
            sum_rows<V>(gradient, nullptr, begin, end, [&](int64_t i) { return instance_row(i) + u; }, value);
            update(u, V * width);
          },
          [&](int64_t u, int64_t n) {
            sum_rows<1>(gradient, nullptr, begin, end, [&](int64_t i) { return instance_row(i) + u; }, value);
            update(u, n);
          });
    }
  });
}

}  // namespace sparsexmc::cpu::SPARSEXMC_ISA

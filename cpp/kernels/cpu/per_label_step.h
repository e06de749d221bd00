// The fused step of per-label fan-in (group_size 1): every label reads its own features.
//
// Such a step is bound by the traffic between the first- and the second-level cache. A tile of labels passes over one
// strip of instances at a time: the strip's D stays close, and dX is added up input feature by input feature (the
// tile's connections sorted by feature) with dX in registers, instead of one read and write of dX per connection. The
// tile size changes no bit: dX adds labels in ascending order, dW adds strips in ascending order.
#pragma once

#include "fp32.h"
#include "loss.h"
#include "positives.h"
#include "tiles.h"
#include "update.h"

namespace sparsexmc::cpu::SPARSEXMC_ISA {

using kernels::FanInStep;

inline constexpr int label_vectors = 8;  // of one label's strip: enough independent sums to hide the latency of an FMA
inline constexpr int64_t label_strip_columns = label_vectors * width;
inline constexpr int64_t largest_label_tile = 256;

/// Labels per tile: as many as keep the tile's D and connections in a share of the second-level cache. The more labels,
/// the more connections meet in one feature.
SPARSEXMC_INLINE int64_t label_tile_rows(int64_t fan_in, int64_t wanted) {
  const int64_t own = larger<int64_t>(8, smaller<int64_t>(largest_label_tile, 8192 / fan_in));
  return wanted > 0 ? smaller(wanted, own) : own;
}

/// One connection of a tile, sorted by input feature.
struct Connection {
  float weight;
  uint32_t d_offset;  // of the label's row in D
};

/// Per-worker scratch of a tile.
struct LabelScratch {
  double* loss;             // [tile]; first, for its alignment
  float* d;                 // [tile, label_strip_columns]
  float* dw;                // [tile, fan_in]
  float* db;                // [tile]
  Connection* connections;  // [tile * fan_in]
  uint32_t* row_end;        // [H + 1]: end of each feature's run of connections

  static int64_t floats(int64_t fan_in, int64_t in_features) {
    return label_tile_rows(fan_in, 0) * (label_strip_columns + 3 * fan_in + 3) + in_features + 2;
  }
  LabelScratch(float* scratch, int64_t fan_in) {
    const int64_t tile = label_tile_rows(fan_in, 0);
    loss = reinterpret_cast<double*>(scratch);
    d = scratch + 2 * tile;
    dw = d + tile * label_strip_columns;
    db = dw + tile * fan_in;
    connections = reinterpret_cast<Connection*>(db + tile);
    row_end = reinterpret_cast<uint32_t*>(connections + tile * fan_in);
  }
};

/// Logits, D and dW of one label over V vectors of instances.
template <class Formula, int V, class Index>
SPARSEXMC_INLINE void label_strip(float* d_out, float* dw, float* db, double* label_loss, const float* w, float bias,
                                  const Index* index, int64_t fan_in, const float* xt, int64_t ldx, int64_t valid,
                                  const Positive* begin, const Positive* end, float weight, const LossInputs& in,
                                  int64_t first_column) {
  Vec z[V];
#pragma GCC unroll 8
  for (int v = 0; v < V; ++v) z[v] = broadcast(bias);
  for (int64_t f = 0; f < fan_in; ++f) {
    const float* x = xt + index[f] * ldx;
    const Vec wf = broadcast(w[f]);
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) z[v] += wf * load(x + v * width);
  }
  Vec d[V];
  LossSum losses[2];
  if (valid >= V * width) {
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) d[v] = slopes<Formula, false>(z[v], in, v * width, 0, losses[v & 1]);
  } else {
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) d[v] = slopes<Formula, true>(z[v], in, v * width, valid - v * width, losses[v & 1]);
  }
  losses[0].add(losses[1]);
  *label_loss += static_cast<double>(losses[0].drain());
#pragma GCC unroll 8
  for (int v = 0; v < V; ++v) store(d_out + v * width, d[v]);
  if (begin != end) {
    alignas(64) float logits[V * width];
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) store(logits + v * width, z[v]);
    for (const Positive* p = begin; p != end; ++p) {
      const int64_t c = static_cast<int64_t>(p->column) - first_column;
      if (c < 0 || c >= V * width) continue;
      d_out[c] = positive_slope<Formula>(logits[c], d_out[c], in, c, weight, *label_loss);
    }
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) d[v] = load(d_out + v * width);
  }
  Vec bias_gradient = d[0];
#pragma GCC unroll 8
  for (int v = 1; v < V; ++v) bias_gradient = bias_gradient + d[v];
  *db += sum(bias_gradient);

  for (int64_t f = 0; f < fan_in; f += width) {
    const int64_t slots = smaller<int64_t>(width, fan_in - f);
    Vec gradient[width] = {};
    if (slots == width) {
#pragma GCC unroll 16
      for (int i = 0; i < width; ++i) {
        const float* x = xt + index[f + i] * ldx;
        gradient[i] = load(x) * d[0];
#pragma GCC unroll 8
        for (int v = 1; v < V; ++v) gradient[i] += load(x + v * width) * d[v];
      }
    } else {
      for (int64_t i = 0; i < slots; ++i) {
        const float* x = xt + index[f + i] * ldx;
        gradient[i] = load(x) * d[0];
#pragma GCC unroll 8
        for (int v = 1; v < V; ++v) gradient[i] += load(x + v * width) * d[v];
      }
    }
    store_first(dw + f, load_first(dw + f, slots) + sum_rows(gradient), slots);
  }
}

/// Sorts the tile's connections by input feature, labels ascending within each (a counting sort).
template <class Index>
SPARSEXMC_INLINE void sort_connections(const LabelScratch& s, const float* w, const Index* indices, int64_t labels,
                                       int64_t fan_in, int64_t in_features) {
  uint32_t* start = s.row_end + 1;  // while filling, start[h] is the next free place of feature h
  __builtin_memset(s.row_end, 0, static_cast<size_t>(in_features + 1) * sizeof(uint32_t));
  const int64_t count = labels * fan_in;
  for (int64_t i = 0; i < count; ++i) ++start[indices[i]];
  uint32_t sum_so_far = 0;
  for (int64_t h = 0; h < in_features; ++h) {
    const uint32_t n = start[h];
    start[h] = sum_so_far;
    sum_so_far += n;
  }
  for (int64_t l = 0, i = 0; l < labels; ++l)
    for (int64_t f = 0; f < fan_in; ++f, ++i)
      s.connections[start[indices[i]]++] = {w[i], static_cast<uint32_t>(l * label_strip_columns)};
  // Now start[h] is the end of feature h, and its begin is row_end[h] = end of h - 1.
}

/// dX of one strip from sorted connections.
template <int V>
SPARSEXMC_INLINE void sorted_dx(float* dx, const LabelScratch& s, int64_t in_features, int64_t ldx) {
  uint32_t begin = 0;
  for (int64_t h = 0; h < in_features; ++h) {
    const uint32_t end = s.row_end[h + 1];
    if (begin == end) continue;
    float* out = dx + h * ldx;
    Vec acc[V];
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) acc[v] = load(out + v * width);
    for (uint32_t i = begin; i < end; ++i) {
      const float* d = s.d + s.connections[i].d_offset;
      const Vec w = broadcast(s.connections[i].weight);
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v) acc[v] += w * load(d + v * width);
    }
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) store(out + v * width, acc[v]);
    begin = end;
  }
}

/// The same, connection by connection: for widths so large that few features of a tile repeat.
template <int V, class Index>
SPARSEXMC_INLINE void scattered_dx(float* dx, const LabelScratch& s, const float* w, const Index* indices,
                                   int64_t labels, int64_t fan_in, int64_t ldx) {
  for (int64_t l = 0; l < labels; ++l) {
    Vec d[V];
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) d[v] = load(s.d + l * label_strip_columns + v * width);
    for (int64_t f = 0; f < fan_in; ++f) {
      float* out = dx + indices[l * fan_in + f] * ldx;
      const Vec wf = broadcast(w[l * fan_in + f]);
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v) store(out + v * width, load(out + v * width) + wf * d[v]);
    }
  }
}

/// All labels of [first, last), every strip, then their update.
template <class Formula, class Index>
inline void label_tile_step(const FanInStep& p, const LabelScratch& s, int64_t first, int64_t last, float* dx,
                            const Index* indices, double& total) {
  const kernels::Segment& segment = p.segment;
  const int64_t fan_in = segment.fan_in, labels = last - first, count = labels * fan_in;
  const LossInputs in = loss_inputs(p);
  float* weights = fp32(segment.weights);
  const float* w = weights + first * fan_in;
  const float* xt = fp32(p.xt);
  const int64_t all_columns = round_up(p.batch, column_padding);
  const Index* tile_indices = indices + first * fan_in;
  // Sorting costs a few nanoseconds per connection and feature; it pays from about one strip on.
  const bool sorted = segment.in_features <= 2 * count;
  if (sorted) sort_connections(s, w, tile_indices, labels, fan_in, segment.in_features);
  for (int64_t i = 0; i < count; ++i) s.dw[i] = 0.0f;
  for (int64_t l = 0; l < labels; ++l) {
    s.db[l] = 0.0f;
    s.loss[l] = 0.0;
  }
  const int64_t first_cursor = first_positive(p.positives, p.num_positives, first);
  const auto strip = [&]<int V>(int64_t b) {
    int64_t cursor = first_cursor;
    const LossInputs strip_in = in.at(b);
    for (int64_t l = 0; l < labels; ++l) {
      const int64_t begin = cursor;
      while (cursor < p.num_positives && p.positives[cursor].row == first + l) ++cursor;
      label_strip<Formula, V>(s.d + l * label_strip_columns, s.dw + l * fan_in, s.db + l, s.loss + l, w + l * fan_in,
                              segment.bias[first + l], tile_indices + l * fan_in, fan_in, xt + b, p.ldx, p.batch - b,
                              p.positives + begin, p.positives + cursor, positive_weight(segment, first + l), strip_in,
                              b);
    }
    if (sorted)
      sorted_dx<V>(dx + b, s, segment.in_features, p.ldx);
    else
      scattered_dx<V>(dx + b, s, w, tile_indices, labels, fan_in, p.ldx);
  };
  int64_t b = 0;
  for (; b + label_strip_columns <= all_columns; b += label_strip_columns) strip.template operator()<label_vectors>(b);
  for (; b < all_columns; b += width) strip.template operator()<1>(b);
  for (int64_t l = 0; l < labels; ++l) total += s.loss[l];
  if (!p.update) return;
  update_at(weights, segment.weight_state, first * fan_in, s.dw, count, p.optimizer.weight_decay, p.optimizer);
  update_at(segment.bias, segment.bias_state, first, s.db, labels, 0.0f, p.optimizer);
}

}  // namespace sparsexmc::cpu::SPARSEXMC_ISA

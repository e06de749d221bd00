// The three matrix products of a group, as register tiles over one strip of instances.
//
// A group has `rows` labels (its group size), reads the features f of one block through byte-free element offsets
// offset[f] into X^T, and keeps its weights feature-major: weight(f, g) = w[f * ldw + g]. Every sum runs in one fixed
// order (features or labels ascending, instances ascending), whatever the tile shapes, so that tiling never changes
// bits.
#pragma once

#include "fp32.h"
#include "simd.h"
#include "visit.h"

namespace sparsexmc::cpu::SPARSEXMC_ISA {

inline constexpr int feature_block = 64;  // features handled per pass: their X^T strip stays in the first-level cache
inline constexpr int vectors_per_tile = width == 16 ? 4 : 2;

/// Z[r, 0:V*width] += sum_f w(f, r) X[f], for R rows.
template <int R, int V>
SPARSEXMC_INLINE void forward_tile(float* z, int64_t ldz, const float* w, int64_t ldw, const float* xt,
                                   const int64_t* offset, int features) {
  Vec acc[R][V];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) acc[r][v] = load(z + r * ldz + v * width);
  for (int f = 0; f < features; ++f) {
    const float* x = xt + offset[f];
    const float* wf = w + f * ldw;
    Vec xv[V];
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) xv[v] = load(x + v * width);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const Vec wr = broadcast(wf[r]);
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v) acc[r][v] += wr * xv[v];
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) store(z + r * ldz + v * width, acc[r][v]);
}

template <int V>
SPARSEXMC_INLINE void forward_columns(float* z, int64_t ldz, const float* w, int64_t ldw, int64_t rows, const float* xt,
                                      const int64_t* offset, int features) {
  constexpr int wide = V == 1 ? 8 : 16 / V;  // enough independent sums to hide the latency of an FMA
  int64_t r = 0;
  for (; r + wide <= rows; r += wide) forward_tile<wide, V>(z + r * ldz, ldz, w + r, ldw, xt, offset, features);
  for (; r + 2 <= rows; r += 2) forward_tile<2, V>(z + r * ldz, ldz, w + r, ldw, xt, offset, features);
  if (r < rows) forward_tile<1, V>(z + r * ldz, ldz, w + r, ldw, xt, offset, features);
}

/// Calls body.template operator()<V>(column) over `columns` (a multiple of column_padding) in tiles of V vectors.
template <class Body>
SPARSEXMC_INLINE void for_column_tiles(int64_t columns, Body&& body) {
  int64_t c = 0;
  for (; c + vectors_per_tile * width <= columns; c += vectors_per_tile * width)
    body.template operator()<vectors_per_tile>(c);
  if constexpr (vectors_per_tile > 2)
    for (; c + 2 * width <= columns; c += 2 * width) body.template operator()<2>(c);
  for (; c < columns; c += width) body.template operator()<1>(c);
}

/// Z[rows, columns] += W X for one block of features. `xt` points at the first column of the strip.
inline void forward_block(float* z, int64_t ldz, const float* w, int64_t ldw, int64_t rows, const float* xt,
                          const int64_t* offset, int features, int64_t columns) {
  for_column_tiles(columns,
                   [&]<int V>(int64_t c) { forward_columns<V>(z + c, ldz, w, ldw, rows, xt + c, offset, features); });
}

/// dX[f, 0:V*width] += sum_g w(f, g) D[g], for R features.
template <int R, int V>
SPARSEXMC_INLINE void dx_tile(float* dx, const int64_t* offset, const int64_t* next, const float* w, int64_t ldw,
                              int64_t rows, const float* d, int64_t ldd) {
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < V * width; v += 16) __builtin_prefetch(dx + next[r] + v);
  Vec acc[R][V];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) acc[r][v] = load(dx + offset[r] + v * width);
  for (int64_t g = 0; g < rows; ++g) {
    Vec dv[V];
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) dv[v] = load(d + g * ldd + v * width);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const Vec wr = broadcast(w[r * ldw + g]);
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v) acc[r][v] += wr * dv[v];
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) store(dx + offset[r] + v * width, acc[r][v]);
}

/// dX[offset[f], columns] += W^T D for one block of features; their rows are distinct.
inline void dx_block(float* dx, const int64_t* offset, int features, const float* w, int64_t ldw, int64_t rows,
                     const float* d, int64_t ldd, int64_t columns) {
  for_column_tiles(columns, [&]<int V>(int64_t c) {
    constexpr int wide = V == 1 ? 8 : 16 / V;
    int f = 0;
    for (; f + wide <= features; f += wide)
      dx_tile<wide, V>(dx + c, offset + f, f + 2 * wide <= features ? offset + f + wide : offset, w + f * ldw, ldw,
                       rows, d + c, ldd);
    for (; f + 2 <= features; f += 2) dx_tile<2, V>(dx + c, offset + f, offset + f, w + f * ldw, ldw, rows, d + c, ldd);
    if (f < features) dx_tile<1, V>(dx + c, offset + f, offset + f, w + f * ldw, ldw, rows, d + c, ldd);
  });
}

/// dW(f, 0:V*width) += sum_b X[f, b] D^T[b], for R features; lanes are labels, so no sums across lanes.
template <int R, int V>
SPARSEXMC_INLINE void dw_tile(float* dw, int64_t ldg, const float* xt, const int64_t* offset, const float* dt,
                              int64_t instances) {
  Vec acc[R][V];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) acc[r][v] = load(dw + r * ldg + v * width);
  const float* x[R];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) x[r] = xt + offset[r];
  for (int64_t b = 0; b < instances; ++b) {
    Vec dv[V];
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) dv[v] = load(dt + b * ldg + v * width);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const Vec xr = broadcast(x[r][b]);
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v) acc[r][v] += xr * dv[v];
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) store(dw + r * ldg + v * width, acc[r][v]);
}

template <int R, int V>
SPARSEXMC_INLINE void dw_features(float* dw, int64_t ldg, const float* xt, const int64_t* offset, int features,
                                  const float* dt, int64_t instances) {
  int f = 0;
  for (; f + R <= features; f += R) dw_tile<R, V>(dw + f * ldg, ldg, xt, offset + f, dt, instances);
  for (; f + 2 <= features; f += 2) dw_tile<2, V>(dw + f * ldg, ldg, xt, offset + f, dt, instances);
  if (f < features) dw_tile<1, V>(dw + f * ldg, ldg, xt, offset + f, dt, instances);
}

/// dW[features, ldg] += X D^T over one strip; ldg is the group size padded to column_padding, dt is [instances, ldg].
inline void dw_block(float* dw, int64_t ldg, const float* xt, const int64_t* offset, int features, const float* dt,
                     int64_t instances) {
  int64_t g = 0;
  if constexpr (width == 16) {
    for (; g + 4 * width <= ldg; g += 4 * width)
      dw_features<4, 4>(dw + g, ldg, xt, offset, features, dt + g, instances);
    for (; g + 2 * width <= ldg; g += 2 * width)
      dw_features<8, 2>(dw + g, ldg, xt, offset, features, dt + g, instances);
    for (; g < ldg; g += width) dw_features<16, 1>(dw + g, ldg, xt, offset, features, dt + g, instances);
  } else {
    for (; g < ldg; g += 2 * width) dw_features<4, 2>(dw + g, ldg, xt, offset, features, dt + g, instances);
  }
}

/// DT[b, 0:ldg] = D[0:rows, b] for `columns` instances; lanes rows..ldg become zero. columns: multiple of
/// column_padding.
inline void transpose_block(float* dt, int64_t ldg, const float* d, int64_t ldd, int64_t rows, int64_t columns) {
  for (int64_t g = 0; g < ldg; g += width)
    for (int64_t c = 0; c < columns; c += width) {
      Vec block[width];
#pragma GCC unroll 16
      for (int i = 0; i < width; ++i) block[i] = g + i < rows ? load(d + (g + i) * ldd + c) : Vec{};
      transpose(block);
#pragma GCC unroll 16
      for (int i = 0; i < width; ++i) store(dt + (c + i) * ldg + g, block[i]);
    }
}

/// Element offsets of features [first, first + count) of group `group` into a [H, ldx] matrix.
SPARSEXMC_INLINE void feature_offsets(int64_t* offset, const kernels::Segment& s, int64_t group, int64_t first,
                                      int count, int64_t ldx) {
  if (s.indices == nullptr) {
    for (int f = 0; f < count; ++f) offset[f] = (first + f) * ldx;
  } else {
    // Copies: what is captured by reference could alias the offsets, and the loop would not be vectorised.
    visit_indices(s, group, [=](const auto* index) {
      for (int f = 0; f < count; ++f) offset[f] = index[first + f] * ldx;
    });
  }
}

/// Z[group_size, columns] = bias + W X of one group over one strip.
inline void group_logits(float* z, int64_t ldz, const kernels::Segment& s, int64_t group, const float* xt, int64_t ldx,
                         int64_t columns) {
  const int64_t rows = s.group_size;
  for (int64_t g = 0; g < rows; ++g) {
    const Vec bias = broadcast(s.bias[group * rows + g]);
    for (int64_t c = 0; c < columns; c += width) store(z + g * ldz + c, bias);
  }
  const float* w = fp32(s.weights) + group * s.fan_in * rows;
  int64_t offset[feature_block];
  for (int64_t f = 0; f < s.fan_in; f += feature_block) {
    const int count = static_cast<int>(smaller<int64_t>(feature_block, s.fan_in - f));
    feature_offsets(offset, s, group, f, count, ldx);
    forward_block(z, ldz, w + f * rows, rows, rows, xt, offset, count, columns);
  }
}

}  // namespace sparsexmc::cpu::SPARSEXMC_ISA

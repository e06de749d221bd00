// ReLU and inverted dropout of the hidden layer and their way back; shared by the dense and the sparse layer.
#pragma once

#include "fp32.h"
#include "random_rows.h"
#include "simd.h"

namespace sparsexmc::cpu::SPARSEXMC_ISA {

inline constexpr int64_t unit_tile = 64;  // hidden units handled together

/// ht = dropout(relu(z)) for `units` units (from first_unit, a multiple of 4) over one strip of instances.
/// @param ht [units, ldx], at the first column of the strip; columns after the batch become zero
/// @param z [units, strip_columns]
/// @param p HiddenForward or SparseHiddenForward: batch, ldx, dropout, seed, step
template <class Params>
inline void activate(float* ht, const float* z, int64_t first_unit, int64_t units, int64_t first_column,
                     int64_t columns, const Params& p) {
  const float scale = 1.0f / (1.0f - p.dropout);
  const Vec rate = broadcast(p.dropout);
  alignas(64) uint32_t words[4][strip_columns] = {};  // of 4 units
  for (int64_t u = 0; u < units; ++u) {
    if (p.dropout > 0.0f && u % 4 == 0)
      draw_rows(words, p.seed, rng::Purpose::dropout, p.step, first_column, columns, (first_unit + u) / 4);
    for (int64_t c = 0; c < columns; c += width) {
      Vec value = max(Vec{}, load(z + u * strip_columns + c));  // NaN stays
      if (p.dropout > 0.0f) {
        VecI word;
        __builtin_memcpy(&word, &words[u % 4][c], sizeof word);
        const Vec uniform = __builtin_convertvector((word >> 8) & 0xFFFFFF, Vec) * 0x1p-24f;  // as rng::uniform
        value = uniform >= rate ? value * scale : Vec{};
      }
      store(ht + u * p.ldx + c, first_lanes(p.batch - first_column - c) ? value : Vec{});
    }
  }
}

/// The gradient before ReLU and dropout, in place of dht, for `units` rows of [units, ldx]; an active, kept unit is one
/// with ht > 0. @param db [units], receives the sums over the batch: the gradient of the bias
inline void activation_gradient(float* dht, float* db, const float* ht, int64_t units, int64_t columns, int64_t ldx,
                                float dropout) {
  const float scale = 1.0f / (1.0f - dropout);
  for (int64_t u = 0; u < units; ++u) {
    Vec total = {};
    for (int64_t c = u * ldx; c < u * ldx + columns; c += width) {
      const Vec d = load(ht + c) > 0.0f ? load(dht + c) * scale : Vec{};
      store(dht + c, d);
      total = total + d;
    }
    db[u] = sum(total);
  }
}

}  // namespace sparsexmc::cpu::SPARSEXMC_ISA

// A batch as bf16 panels, made once and read by every group of labels.
#pragma once

#include "bf16_tiles.h"

namespace sparsexmc::cpu::SPARSEXMC_ISA {

/// Blocks of 16 and of 32 in n, the latter as blocks of 16 that come in pairs.
SPARSEXMC_HD int64_t blocks16(int64_t n) { return ceil_div(n, tile_rows); }
SPARSEXMC_HD int64_t blocks32(int64_t n) { return ceil_div(n, tile_depth); }
/// Elements of a panel of m x n whose both sides may become what is summed over.
SPARSEXMC_HD int64_t panel_elements(int64_t m, int64_t n) { return 2 * blocks32(m) * blocks32(n) * tile_elements; }
SPARSEXMC_HD int64_t panel_floats(int64_t m, int64_t n) { return panel_elements(m, n) / 2; }

/// A batch in bf16, shared by the workers of a step.
struct Bf16Batch {
  Bf16* left;   // [H, columns], columns summed over: for dW, and what groups gather from
  Bf16* right;  // its pairs of features, summed over: for the logits of dense segments
  int64_t features, columns;

  static int64_t floats(int64_t features, int64_t columns) { return 2 * panel_floats(features, columns); }
  Bf16Batch(float* scratch, int64_t features, int64_t columns) : features(features), columns(columns) {
    left = reinterpret_cast<Bf16*>(scratch);
    right = left + panel_elements(features, columns);
  }
  /// Fills features [32 block, 32 block + 32) from [H, ldx] of fp32.
  void fill(const float* xt, int64_t ldx, int64_t block) const {
    const int64_t depth = blocks32(columns), size = 2 * depth * tile_elements;
    Bf16* rows = left + block * size;
    std::memset(rows, 0, static_cast<size_t>(size) * sizeof(Bf16));
    for (int64_t f = block * 32; f < smaller(features, (block + 1) * 32); ++f)
      narrow_into(panel_row(left, depth, f), xt + f * ldx, columns);
    for (int64_t j = 0; j < depth; ++j)
      pair_tiles(right + (2 * j * blocks32(features) + block) * tile_elements,
                 right + ((2 * j + 1) * blocks32(features) + block) * tile_elements, rows + j * tile_elements,
                 rows + (depth + j) * tile_elements);
  }
};

}  // namespace sparsexmc::cpu::SPARSEXMC_ISA

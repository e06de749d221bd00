// Matrices of bf16 in tiles, and what makes them: the operands of matrix units, whose rows are 64 bytes.
//
// A left tile holds 16 rows of 32 elements; its columns are summed over. A right tile holds, for 16 pairs of rows, the
// pair of each of 16 columns side by side: row p is (2p, 0) (2p + 1, 0) (2p, 1) (2p + 1, 1) ... A panel is a matrix in
// tiles, [blocks of 16][blocks of 32 that are summed over], each tile contiguous; what pads it is zero. Three
// operations make every operand from rows of fp32: rounding, pairing (the rows of a left panel become what is summed
// over), and the transposition of 32-bit elements, which turns a right tile into a left one and back.
#pragma once

#include "float16.h"
#include "simd.h"

namespace sparsexmc::cpu::SPARSEXMC_ISA {

using Bf16 = uint16_t;
inline constexpr int64_t tile_rows = 16;
inline constexpr int64_t tile_depth = 32;
inline constexpr int64_t tile_elements = tile_rows * tile_depth;

/// A row of a tile; handed on in memory, since not every instruction set can return 64 bytes.
using TileRow = Bf16 __attribute__((vector_size(64)));
SPARSEXMC_INLINE void copy_row(Bf16* to, const Bf16* from) { std::memcpy(to, from, sizeof(TileRow)); }

/// to[i] = from[i], rounded to nearest even; NaN stays NaN, and subnormal numbers become zero as matrix units have it.
SPARSEXMC_INLINE void narrow(Bf16* to, const float* from, int64_t n) {
  int64_t i = 0;
#if defined(__AVX512BF16__)
  for (; i + 32 <= n; i += 32) {
    const __m512bh row = _mm512_cvtne2ps_pbh(_mm512_loadu_ps(from + i + 16), _mm512_loadu_ps(from + i));
    std::memcpy(to + i, &row, sizeof row);
  }
  for (; i + 16 <= n; i += 16) {
    const __m256bh half = _mm512_cvtneps_pbh(_mm512_loadu_ps(from + i));
    std::memcpy(to + i, &half, sizeof half);
  }
#else
  using Narrow = Bf16 __attribute__((vector_size(width * 2)));
  for (; i + width <= n; i += width) {
    const VecI u = bits(load(from + i)), magnitude = u & 0x7FFFFFFF;
    VecI kept = magnitude > 0x7F800000 ? (u | 0x400000) : nearest_bfloat16(u);
    kept = magnitude < 0x00800000 ? (u & static_cast<int32_t>(0x80000000u)) : kept;
    const Narrow half = __builtin_convertvector((kept >> 16) & 0xFFFF, Narrow);
    std::memcpy(to + i, &half, sizeof half);
  }
#endif
  for (; i < n; ++i) {
    const uint32_t u = float_bits(from[i]);
    to[i] = (u & 0x7F800000u) == 0 ? static_cast<Bf16>(u >> 16 & 0x8000u) : to_bfloat16(from[i]);
  }
}

/// Right tiles of columns 0..15 and 16..31 from 32 rows that are summed over: those of two left tiles.
SPARSEXMC_INLINE void pair_tiles(Bf16* low, Bf16* high, const Bf16* first, const Bf16* second) {
  for (int p = 0; p < 16; ++p) {
    const Bf16* rows = (p < 8 ? first : second) + (p & 7) * 2 * tile_depth;
    TileRow a, b;
    std::memcpy(&a, rows, sizeof a);
    std::memcpy(&b, rows + tile_depth, sizeof b);
    const TileRow low_pairs = __builtin_shufflevector(a, b, 0, 32, 1, 33, 2, 34, 3, 35, 4, 36, 5, 37, 6, 38, 7, 39, 8,
                                                      40, 9, 41, 10, 42, 11, 43, 12, 44, 13, 45, 14, 46, 15, 47);
    const TileRow high_pairs =
        __builtin_shufflevector(a, b, 16, 48, 17, 49, 18, 50, 19, 51, 20, 52, 21, 53, 22, 54, 23, 55, 24, 56, 25, 57,
                                26, 58, 27, 59, 28, 60, 29, 61, 30, 62, 31, 63);
    std::memcpy(low + p * tile_depth, &low_pairs, sizeof low_pairs);
    std::memcpy(high + p * tile_depth, &high_pairs, sizeof high_pairs);
  }
}

/// Transposes a tile's 16 x 16 elements of 32 bits. `to` may be `from`.
SPARSEXMC_INLINE void transpose_tile(Bf16* to, const Bf16* from) {
  Bf16 out[tile_elements];
  for (int64_t r = 0; r < tile_rows; r += width)
    for (int64_t c = 0; c < tile_rows; c += width) {
      Vec block[width];
#pragma GCC unroll 16
      for (int i = 0; i < width; ++i) std::memcpy(&block[i], from + (r + i) * tile_depth + 2 * c, sizeof(Vec));
      transpose(block);
#pragma GCC unroll 16
      for (int i = 0; i < width; ++i) std::memcpy(out + (c + i) * tile_depth + 2 * r, &block[i], sizeof(Vec));
    }
  std::memcpy(to, out, sizeof out);
}

/// Row `row` of a left panel of `depth` tiles a block.
SPARSEXMC_INLINE Bf16* panel_row(Bf16* panel, int64_t depth, int64_t row) {
  return panel + row / tile_rows * depth * tile_elements + row % tile_rows * tile_depth;
}

/// Rounds n elements into a row of a left panel; after the last whole block of 32 comes zero.
SPARSEXMC_INLINE void narrow_into(Bf16* row, const float* from, int64_t n) {
  int64_t i = 0;
  for (; i + tile_depth <= n; i += tile_depth) narrow(row + i / tile_depth * tile_elements, from + i, tile_depth);
  if (i < n) {
    Bf16* last = row + i / tile_depth * tile_elements;
    narrow(last, from + i, n - i);
    for (int64_t j = n - i; j < tile_depth; ++j) last[j] = 0;
  }
}

/// The right panel over the rows of a left panel: [2 * columns blocks of 16][`rows` blocks of 32].
SPARSEXMC_INLINE void pair_panel(Bf16* right, const Bf16* left, int64_t rows, int64_t columns) {
  for (int64_t j = 0; j < columns; ++j)
    for (int64_t i = 0; i < rows; ++i)
      pair_tiles(right + (2 * j * rows + i) * tile_elements, right + ((2 * j + 1) * rows + i) * tile_elements,
                 left + (2 * i * columns + j) * tile_elements, left + ((2 * i + 1) * columns + j) * tile_elements);
}

}  // namespace sparsexmc::cpu::SPARSEXMC_ISA

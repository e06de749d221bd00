// Products of small matrices in shared memory, one warp at a time: tensor cores for bf16, plain fp32 for fp32.
//
// Both leave their sums in the same place, the layout of mma.sync's accumulators: with g = lane / 4 and t = lane % 4,
// acc[n] holds rows g, g, g + 8, g + 8 and columns 2t, 2t + 1, 2t, 2t + 1 of the n-th block of 16 x 8.
#pragma once

#include "device_compat.h"
#include "tile.cuh"

namespace sparsexmc::cuda {

/// Row and column of acc[.][i] within its block of 16 x 8.
SPARSEXMC_DEVICE int fragment_row(int i) { return lane() / 4 + (i & 2) * 4; }
SPARSEXMC_DEVICE int fragment_column(int i) { return lane() % 4 * 2 + (i & 1); }

/// How the 8 warps of a block share an M x N product: each takes 16 rows and `width` blocks of 8 columns.
template <int M, int N>
struct WarpGrid {
  static_assert(M % 16 == 0 && M <= 128 && N % 8 == 0);
  static constexpr int row_blocks = M / 16;
  static constexpr int warps_per_row_block = 8 / row_blocks;
  static constexpr int column_blocks = N / 8;
  static constexpr int width = column_blocks > warps_per_row_block ? column_blocks / warps_per_row_block : 1;

  static SPARSEXMC_DEVICE int row() { return warp() % row_blocks * 16; }
  static SPARSEXMC_DEVICE int slot() { return warp() / row_blocks; }  // which of the warps of its row block
  static SPARSEXMC_DEVICE int column() { return slot() * width * 8; }
  static SPARSEXMC_DEVICE bool active() { return slot() * width < column_blocks && slot() < warps_per_row_block; }
};

/// Whether a factor lies in its tile as the product reads it (A as [m, k], B as [k, n]) or transposed.
enum class Stored { plain, transposed };

/// acc += A[m0 .. m0 + 16, 0 .. depth] B[0 .. depth, n0 .. n0 + 8 N]; depth is a multiple of 16.
template <Stored stored_a, Stored stored_b, int N, int ColumnsA, int ColumnsB>
SPARSEXMC_DEVICE void warp_product(float (&acc)[N][4], const Tile<bfloat16, ColumnsA>& a, int m0,
                                   const Tile<bfloat16, ColumnsB>& b, int n0, int depth) {
  // Lane l hands ldmatrix the address of row l % 8 of matrix l / 8. Of A the matrices are (m, k), (m + 8, k),
  // (m, k + 8), (m + 8, k + 8); of B they are (k, n), (k + 8, n) and the same for the next 8 columns.
  const int line = lane() % 8, low = lane() / 8 % 2 * 8, high = lane() / 16 * 8;
  for (int k = 0; k < depth; k += 16) {
    uint32_t fa[4];
    if constexpr (stored_a == Stored::plain)
      ldmatrix_x4(fa, a.at(m0 + low + line, k + high));
    else
      ldmatrix_x4_trans(fa, a.at(k + high + line, m0 + low));
#pragma unroll
    for (int n = 0; n + 1 < N; n += 2) {
      uint32_t fb[4];
      if constexpr (stored_b == Stored::plain)
        ldmatrix_x4_trans(fb, b.at(k + low + line, n0 + 8 * n + high));
      else
        ldmatrix_x4(fb, b.at(n0 + 8 * n + high + line, k + low));
      const uint32_t first[2] = {fb[0], fb[1]}, second[2] = {fb[2], fb[3]};
      mma_bf16(acc[n], fa, first);
      mma_bf16(acc[n + 1], fa, second);
    }
    if constexpr (N % 2 == 1) {
      uint32_t fb[2];
      if constexpr (stored_b == Stored::plain)
        ldmatrix_x2_trans(fb, b.at(k + low + line, n0 + 8 * (N - 1)));
      else
        ldmatrix_x2(fb, b.at(n0 + 8 * (N - 1) + line, k + low));
      mma_bf16(acc[N - 1], fa, fb);
    }
  }
}

/// The same in true fp32.
template <Stored stored_a, Stored stored_b, int N, int ColumnsA, int ColumnsB>
SPARSEXMC_DEVICE void warp_product(float (&acc)[N][4], const Tile<float, ColumnsA>& a, int m0,
                                   const Tile<float, ColumnsB>& b, int n0, int depth) {
  const int row = m0 + fragment_row(0), column = n0 + fragment_column(0);
  for (int k = 0; k < depth; ++k) {
    float fa[2];
#pragma unroll
    for (int i = 0; i < 2; ++i) fa[i] = stored_a == Stored::plain ? *a.at(row + 8 * i, k) : *a.at(k, row + 8 * i);
#pragma unroll
    for (int n = 0; n < N; ++n)
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        const float fb = stored_b == Stored::plain ? *b.at(k, column + 8 * n + j) : *b.at(column + 8 * n + j, k);
        acc[n][j] += fa[0] * fb;
        acc[n][j + 2] += fa[1] * fb;
      }
  }
}

}  // namespace sparsexmc::cuda

// Transposition of a matrix through shared memory, so that reads and writes both run along rows.
#pragma once

#include "device_compat.h"

namespace sparsexmc::cuda {

inline constexpr int transpose_threads = 256;
inline constexpr int transpose_tile = 32;
inline constexpr int transpose_stride = transpose_tile + 1;  // columns of a tile fall into different banks
inline constexpr size_t transpose_bytes = sizeof(float) * transpose_tile * transpose_stride;

/// The launch for a matrix [rows, columns].
inline Launch transpose_launch(int64_t rows, int64_t columns) {
  return {ceil_div(rows, transpose_tile) * ceil_div(columns, transpose_tile), transpose_threads, transpose_bytes};
}

/// One block's tile of [rows, columns]. The lanes of a warp call read(row, column) for neighbouring columns, and
/// write(row, column, value) for neighbouring rows.
template <class Read, class Write>
SPARSEXMC_DEVICE void transpose(int64_t rows, int64_t columns, Read&& read, Write&& write) {
  constexpr int warps = transpose_threads / warp_size, passes = transpose_tile / warps;
  float* tile = reinterpret_cast<float*>(shared_memory());  // [transpose_tile, transpose_stride]
  const int64_t tiles_across = ceil_div(columns, transpose_tile);
  const int64_t first_row = blockIdx.x / tiles_across * transpose_tile;
  const int64_t first_column = blockIdx.x % tiles_across * transpose_tile;
#pragma unroll
  for (int i = 0; i < passes; ++i) {
    const int line = warp() + i * warps;
    const int64_t row = first_row + line, column = first_column + lane();
    tile[line * transpose_stride + lane()] = row < rows && column < columns ? read(row, column) : 0.0f;
  }
  __syncthreads();
#pragma unroll
  for (int i = 0; i < passes; ++i) {
    const int line = warp() + i * warps;
    const int64_t row = first_row + lane(), column = first_column + line;
    if (row < rows && column < columns) write(row, column, tile[lane() * transpose_stride + line]);
  }
}

}  // namespace sparsexmc::cuda

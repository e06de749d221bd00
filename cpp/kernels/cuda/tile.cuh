// A small matrix in shared memory, laid out so that neither its rows nor its columns meet in the same banks.
#pragma once

#include "device_compat.h"

namespace sparsexmc::cuda {

/// [rows, Columns] of T without padding: the 16-byte chunks of a row are permuted by the row's number, so that eight
/// rows read at the same columns (ldmatrix), or written there, touch all 32 banks.
template <class T, int Columns>
struct Tile {
  using Element = T;
  static constexpr int columns = Columns;
  static constexpr int chunk = 16 / static_cast<int>(sizeof(T));  // elements
  static constexpr int chunks = Columns / chunk;                  // per row
  static_assert(Columns % chunk == 0 && chunks >= 2 && (chunks & (chunks - 1)) == 0, "rows of 32, 64, 128... bytes");

  T* data;

  static constexpr SPARSEXMC_HD size_t bytes(int rows) { return sizeof(T) * Columns * static_cast<size_t>(rows); }

  SPARSEXMC_DEVICE T* at(int row, int column) const {
    constexpr int rows_per_line = chunks >= 8 ? 1 : 8 / chunks;  // rows that share 128 bytes
    constexpr int mask = chunks >= 8 ? 7 : chunks - 1;
    const int swizzled = (column / chunk) ^ (row / rows_per_line & mask);
    return data + row * Columns + swizzled * chunk + column % chunk;
  }
};

}  // namespace sparsexmc::cuda

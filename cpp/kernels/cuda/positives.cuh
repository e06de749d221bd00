// Which logits of a tile belong to positives: a bitmap that one warp fills while it walks the label-sorted list.
#pragma once

#include "first_positive.h"
#include "row_tiles.cuh"

namespace sparsexmc::cuda {

using kernels::first_positive;
using kernels::Positive;

/// Bits [Rows, Columns] of the current tile. Tiles come in ascending order, so a cursor replaces the search.
template <int Rows, int Columns>
class PositiveBits {
 public:
  static constexpr int words = Rows * (Columns / 32);
  static constexpr size_t bytes = sizeof(uint32_t) * words;

  SPARSEXMC_DEVICE PositiveBits(unsigned char* shared, const Positive* positives, int64_t count, int64_t first_row)
      : bits_(reinterpret_cast<uint32_t*>(shared)),
        positives_(positives),
        count_(count),
        cursor_(first_positive(positives, count, first_row)) {}

  /// Bits of the positives in `tile` and in the columns from first_column on. For one whole warp; the tile's list is
  /// walked again for other columns until `last` says that it is done with.
  SPARSEXMC_DEVICE void fill(const RowTile& tile, int64_t first_column, bool last = true) {
    for (int i = lane(); i < words; i += 32) bits_[i] = 0;
    __syncwarp();
    const int64_t end = tile.first_row + tile.rows;
    int64_t cursor = cursor_;
    for (;;) {
      const int64_t i = cursor + lane();
      const bool inside = i < count_ && static_cast<int64_t>(positives_[i].row) < end;
      if (inside) {
        const int row = static_cast<int>(positives_[i].row - tile.first_row);
        const int64_t column = static_cast<int64_t>(positives_[i].column) - first_column;
        if (column >= 0 && column < Columns) atomicOr(bits_ + row * (Columns / 32) + column / 32, 1u << (column % 32));
      }
      const int found = __popc(__ballot_sync(full_warp, inside));
      cursor += found;
      if (found < 32) break;
    }
    if (last) cursor_ = cursor;
  }

  SPARSEXMC_DEVICE bool has(int row, int column) const {
    return (bits_[row * (Columns / 32) + column / 32] >> (column % 32) & 1u) != 0;
  }

 private:
  uint32_t* bits_;
  const Positive* positives_;
  int64_t count_, cursor_;
};

}  // namespace sparsexmc::cuda

// How the rows of a segment are cut for the blocks: tiles of up to Rows rows of one group, so that a tile shares its
// features. A group larger than a tile takes several.
#pragma once

#include "device_compat.h"
#include "kernels.h"

namespace sparsexmc::cuda {

inline constexpr int block_threads = 256;  // of every kernel that works on tiles: 8 warps
inline constexpr int chunk_features = 64;  // features of a tile that are in shared memory together

/// One tile.
struct RowTile {
  int64_t group = 0;
  int64_t first_row = 0;  // in the segment
  int offset = 0;         // of the first row within the group
  int rows = 0;           // rows of the group in this tile
  int valid = 0;          // of these, labels; the rest is padding of the last group
};

template <int Rows>
SPARSEXMC_HD int64_t tiles_per_group(int64_t group_size) {
  return ceil_div(group_size, Rows);
}

template <int Rows>
SPARSEXMC_HD RowTile row_tile(const kernels::Segment& s, int64_t number) {
  const int64_t per_group = tiles_per_group<Rows>(s.group_size);
  RowTile tile;
  tile.group = number / per_group;
  tile.offset = static_cast<int>(number % per_group * Rows);
  tile.first_row = tile.group * s.group_size + tile.offset;
  tile.rows = static_cast<int>(smaller<int64_t>(Rows, s.group_size - tile.offset));
  tile.valid = static_cast<int>(larger<int64_t>(0, smaller<int64_t>(tile.rows, s.rows - tile.first_row)));
  return tile;
}

/// Labels with features of their own (group_size 1), as many as fit a tile.
template <int Rows>
SPARSEXMC_HD RowTile label_tile(const kernels::Segment& s, int64_t number) {
  RowTile tile;
  tile.group = tile.first_row = number * Rows;
  tile.rows = tile.valid = static_cast<int>(smaller<int64_t>(Rows, s.rows - tile.first_row));
  return tile;
}

/// Range of tiles of part `part`; depends on sizes alone.
struct TileRange {
  int64_t first, last;
};
SPARSEXMC_HD TileRange part_range(int64_t tiles, int64_t part, int64_t parts) {
  return {tiles * part / parts, tiles * (part + 1) / parts};
}
template <int Rows>
SPARSEXMC_HD TileRange part_tiles(const kernels::Segment& s, int64_t part, int64_t parts) {
  return part_range(s.groups * tiles_per_group<Rows>(s.group_size), part, parts);
}
template <int Rows>
SPARSEXMC_HD TileRange part_label_tiles(const kernels::Segment& s, int64_t part, int64_t parts) {
  return part_range(ceil_div(s.rows, Rows), part, parts);
}

/// Feature number of place f in the fan-in of a group; a dense segment reads them all.
SPARSEXMC_DEVICE uint32_t feature_at(const kernels::Segment& s, int64_t group, int64_t f) {
  if (s.indices == nullptr) return static_cast<uint32_t>(f);
  const int64_t i = group * s.fan_in + f;
  return s.wide_indices ? static_cast<const uint32_t*>(s.indices)[i] : static_cast<const uint16_t*>(s.indices)[i];
}
SPARSEXMC_DEVICE void set_feature(const kernels::Segment& s, int64_t group, int64_t f, uint32_t feature) {
  const int64_t i = group * s.fan_in + f;
  if (s.wide_indices)
    static_cast<uint32_t*>(s.indices)[i] = feature;
  else
    static_cast<uint16_t*>(s.indices)[i] = static_cast<uint16_t>(feature);
}

}  // namespace sparsexmc::cuda

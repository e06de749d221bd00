// Products of matrices in global memory, a tile of the result per block; for the dense hidden layer.
#pragma once

#include "row_weights.cuh"
#include "warp_product.cuh"

namespace sparsexmc::cuda {

inline constexpr int product_tile = 64;  // rows, columns, and depth that is in shared memory together

/// [rows, columns] in global memory, 16-byte aligned, with its row stride; zero beyond its edges.
template <class Source>
struct Matrix {
  const Source* data;
  int64_t rows, columns, stride;
};

/// Blocks for a result [rows, columns]; those of neighbouring columns follow each other and share rows in the cache.
inline int64_t product_blocks(int64_t rows, int64_t columns) {
  return ceil_div(rows, product_tile) * ceil_div(columns, product_tile);
}

/// Where this block's tile lies in the result.
struct ProductTile {
  int64_t row, column;
};
SPARSEXMC_DEVICE ProductTile product_tile_of(int64_t columns) {
  const int64_t across = ceil_div(columns, product_tile);
  return {blockIdx.x / across * product_tile, blockIdx.x % across * product_tile};
}

/// Brings a tile from global memory through registers, where it waits while the one before is in use.
class TileReader {
 public:
  template <class Source>
  SPARSEXMC_DEVICE void fetch(const Matrix<Source>& m, int64_t row, int64_t column) {
    const bool aligned = m.stride % 4 == 0;
#pragma unroll
    for (int i = 0; i < quads; ++i) {
      const int64_t r = row + line(i), c = column + place();
      const int64_t left = r < m.rows ? smaller<int64_t>(4, m.columns - c) : 0;
      load_weights(quad_[i], m.data + (left > 0 ? r * m.stride + c : 0), static_cast<int>(left), aligned);
    }
  }
  template <class T>
  SPARSEXMC_DEVICE void put(const Tile<T, product_tile>& tile) const {
#pragma unroll
    for (int i = 0; i < quads; ++i) store_four(tile.at(line(i), place()), quad_[i]);
  }

 private:
  static constexpr int quads_per_row = product_tile / 4;
  static constexpr int quads = product_tile * quads_per_row / block_threads;

  static SPARSEXMC_DEVICE int line(int i) {
    return static_cast<int>(threadIdx.x) / quads_per_row + i * (block_threads / quads_per_row);
  }
  static SPARSEXMC_DEVICE int place() { return static_cast<int>(threadIdx.x) % quads_per_row * 4; }

  float quad_[quads][4];
};

using ProductGrid = WarpGrid<product_tile, product_tile>;
using ProductSums = float[ProductGrid::width][4];

template <class T>
inline constexpr size_t product_bytes = 2 * Tile<T, product_tile>::bytes(product_tile);

/// This block's tile of A B, where A is [m, depth] and B is [depth, n], or lies transposed. T: what the products read.
template <class T, Stored stored_a, Stored stored_b, class A, class B>
SPARSEXMC_DEVICE void block_product(ProductSums& sums, const Matrix<A>& a, const Matrix<B>& b, int64_t depth,
                                    const ProductTile& at) {
  const Tile<T, product_tile> tile_a{reinterpret_cast<T*>(shared_memory())};
  const Tile<T, product_tile> tile_b{tile_a.data + product_tile * product_tile};
  TileReader reader_a, reader_b;
  const auto fetch = [&](int64_t k) {
    stored_a == Stored::plain ? reader_a.fetch(a, at.row, k) : reader_a.fetch(a, k, at.row);
    stored_b == Stored::plain ? reader_b.fetch(b, k, at.column) : reader_b.fetch(b, at.column, k);
  };
  fetch(0);
  for (int64_t k = 0; k < depth; k += product_tile) {
    reader_a.put(tile_a);
    reader_b.put(tile_b);
    __syncthreads();
    if (k + product_tile < depth) fetch(k + product_tile);
    warp_product<stored_a, stored_b>(sums, tile_a, ProductGrid::row(), tile_b, ProductGrid::column(), product_tile);
    __syncthreads();
  }
}

/// Calls body(row, column, sum) for this thread's places of the result.
template <class Body>
SPARSEXMC_DEVICE void for_each_sum(const ProductSums& sums, const ProductTile& at, Body&& body) {
#pragma unroll
  for (int n = 0; n < ProductGrid::width; ++n)
#pragma unroll
    for (int i = 0; i < 4; ++i)
      body(at.row + ProductGrid::row() + fragment_row(i),
           at.column + ProductGrid::column() + 8 * n + fragment_column(i), sums[n][i]);
}

}  // namespace sparsexmc::cuda

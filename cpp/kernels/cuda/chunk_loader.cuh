// Brings the chunks of a block's row tiles into shared memory, one ahead of the computation: for each chunk of 64
// features the rows of X^T that the tile reads (P) and its weights (W), with the tile's biases.
#pragma once

#include "row_weights.cuh"

namespace sparsexmc::cuda {

/// T: what the products read. W: stored weights. The tiles first .. last are visited in order, each with one tile of
/// columns after the other, each with its chunks. With `backward` the chunks come once ascending and once descending,
/// where the last one serves both ways.
template <class T, class W, int Rows, int Columns, bool backward, class Source = GroupRows<T, W, Rows>>
class ChunkLoader {
 public:
  using Inputs = Tile<T, Columns>;  // [chunk_features, Columns]
  using Weights = Tile<T, Rows>;    // [chunk_features, Rows]

  static constexpr size_t bytes =
      2 * Inputs::bytes(chunk_features) + Weights::bytes(chunk_features) + 4 * (2 * chunk_features + Rows);

  /// @param xt [H, ldx], at the block's first column  @param column_tiles of the block
  SPARSEXMC_DEVICE ChunkLoader(unsigned char* shared, const kernels::Segment& s, const T* xt, int64_t ldx,
                               TileRange range, int column_tiles = 1)
      : s_(s), xt_(xt), ldx_(ldx), next_tile_(range.first), last_tile_(range.last), column_tiles_(column_tiles) {
    inputs_ = reinterpret_cast<T*>(shared);
    shared += 2 * Inputs::bytes(chunk_features);
    weights_ = reinterpret_cast<T*>(shared);
    shared += Weights::bytes(chunk_features);
    features_ = reinterpret_cast<uint32_t*>(shared);
    bias_ = reinterpret_cast<float*>(features_ + 2 * chunk_features);
    chunks_ = static_cast<int>(ceil_div(Source::places(s), chunk_features));
    visits_ = backward ? 2 * chunks_ - 1 : chunks_;
    find_features();
    issue();
  }

  SPARSEXMC_DEVICE int chunks() const { return chunks_; }

  /// Waits for the next chunk, makes it current and starts the load of the one after. `between` runs after the last
  /// reader of the previous chunk has finished and before anybody goes on. To be called by all threads.
  template <class Between>
  SPARSEXMC_DEVICE void advance(Between&& between) {
    __syncthreads();  // the previous chunk's weights and the other slot are free now
    commit();
    between();
    copy_async_wait<0>();
    slot_ ^= 1;
    __syncthreads();
    issue();
  }

  SPARSEXMC_DEVICE Inputs inputs() const { return {inputs_ + slot_ * chunk_features * Columns}; }
  SPARSEXMC_DEVICE Weights weights() const { return {weights_}; }
  /// Feature of each place of the current chunk, or no_feature.
  SPARSEXMC_DEVICE const uint32_t* features() const { return features_ + slot_ * chunk_features; }
  /// [Rows] of the current tile.
  SPARSEXMC_DEVICE const float* bias() const { return bias_; }
  SPARSEXMC_DEVICE Entries entries() const { return entries_; }

 private:
  static constexpr int pieces = chunk_features * Inputs::chunks / block_threads;  // 16-byte copies per thread
  static_assert(pieces >= 1);

  SPARSEXMC_DEVICE bool rising() const { return next_visit_ < chunks_; }
  SPARSEXMC_DEVICE int64_t first_feature() const {
    return int64_t{rising() ? next_visit_ : 2 * chunks_ - 2 - next_visit_} * chunk_features;
  }

  /// The features whose rows this thread will copy for the next chunk, read early: the copies depend on them.
  SPARSEXMC_DEVICE void find_features() {
    if (next_tile_ >= last_tile_) return;
    const int64_t first = first_feature();
#pragma unroll
    for (int i = 0; i < pieces; ++i) {
      const int64_t place = first + piece_row(i);
      next_features_[i] = place < Source::places(s_) ? Source::feature(s_, next_tile_, place) : no_feature;
    }
  }

  SPARSEXMC_DEVICE int piece_row(int i) const {
    return (static_cast<int>(threadIdx.x) + i * block_threads) / Inputs::chunks;
  }

  SPARSEXMC_DEVICE void issue() {
    issued_ = next_tile_ < last_tile_;
    if (!issued_) return;
    const RowTile tile = Source::tile(s_, next_tile_);
    const Inputs to{inputs_ + (slot_ ^ 1) * chunk_features * Columns};
    uint32_t* features = features_ + (slot_ ^ 1) * chunk_features;
#pragma unroll
    for (int i = 0; i < pieces; ++i) {
      const int piece = (static_cast<int>(threadIdx.x) + i * block_threads) % Inputs::chunks, row = piece_row(i);
      const uint32_t feature = next_features_[i];
      const bool valid = feature != no_feature;
      const T* from = xt_ + (valid ? static_cast<int64_t>(feature) * ldx_ : 0) + next_column_tile_ * Columns +
                      piece * Inputs::chunk;
      copy_async_16_or_zero(to.at(row, piece * Inputs::chunk), from, valid);
      if (piece == 0) features[row] = feature;
    }
    copy_async_commit();
    first_visit_ = next_visit_ == 0;
    source_.fetch(s_, tile, first_feature(), first_visit_, rising());
    const int row = static_cast<int>(threadIdx.x);
    if (first_visit_ && row < Rows) next_bias_ = row < tile.valid ? s_.bias[tile.first_row + row] : 0.0f;
    if (++next_visit_ == visits_) {
      next_visit_ = 0;
      if (++next_column_tile_ == column_tiles_) {
        next_column_tile_ = 0;
        ++next_tile_;
      }
    }
    find_features();
  }

  /// The weights and biases that issue() read go to shared memory.
  SPARSEXMC_DEVICE void commit() {
    if (!issued_) return;
    source_.put(s_, Weights{weights_});
    entries_ = source_.entries();
    if (first_visit_ && threadIdx.x < Rows) bias_[threadIdx.x] = next_bias_;
  }

  const kernels::Segment& s_;
  const T* xt_;
  int64_t ldx_;
  int64_t next_tile_, last_tile_;
  int column_tiles_, next_column_tile_ = 0;  // of next_tile_
  int next_visit_ = 0;                       // of next_column_tile_
  int chunks_, visits_;
  int slot_ = 0;
  bool issued_ = false, first_visit_ = false;
  T *inputs_, *weights_;
  uint32_t* features_;
  float* bias_;
  Source source_;
  Entries entries_;
  uint32_t next_features_[pieces];
  float next_bias_ = 0.0f;
};

}  // namespace sparsexmc::cuda

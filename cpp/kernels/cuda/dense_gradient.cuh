// RigL's growth scores: the gradient that the rows of a group would have if they read every feature.
//
// For each row tile: D = dloss/dlogit of every kept batch, from the present weights, into scratch of the block; then,
// chunk by chunk of all features, |D X^T| summed over the rows of each group.
#pragma once

#include "cut.cuh"
#include "group_update.cuh"

namespace sparsexmc::cuda {

using kernels::KeptBatch;

/// Groups whose gradients are made together: labels with features of their own share a tile.
SPARSEXMC_HD int64_t gradient_pack(int64_t group_size) { return group_size == 1 ? 32 : 1; }

/// Bytes of scratch per block, for D of a row tile.
SPARSEXMC_HD int64_t gradient_scratch(int64_t ldx, int64_t kept) { return kept * 32 * ldx * int64_t{sizeof(float)}; }

struct GradientArguments {
  kernels::Segment segment;
  uint32_t* keys;             // [packs, gradient_pack(), in_features]
  const KeptBatch* kept;      // [num_kept]
  int64_t num_kept, ldx;      // ldx: at least that of every kept batch
  int64_t first_pack, packs;  // whose keys are wanted
  Loss loss;
  float logit_scale;
  unsigned char* scratch;  // gradient_scratch() of each block
};

/// Of one block.
template <class Types>
class DenseGradient {
  using T = typename Types::T;
  static constexpr int Rows = Types::Rows, Columns = Types::Columns;
  static constexpr bool labels = std::is_same_v<typename Types::Source, LabelRows<T, typename Types::W, Rows>>;
  using Loader = typename Types::template Loader<false>;
  using TileOfLoss = TileLoss<T, Rows, Columns>;
  using Bits = PositiveBits<Rows, Columns>;
  using Staged = Tile<float, Rows>;  // [chunk_features, Rows]
  using LogitGrid = WarpGrid<Rows, Columns>;
  using WeightGrid = WarpGrid<chunk_features, Rows>;

  static constexpr size_t loss_room = Loader::bytes;
  static constexpr size_t staged_room = loss_room + TileOfLoss::bytes;
  static constexpr size_t positives_room = staged_room + Staged::bytes(chunk_features);

 public:
  static constexpr size_t bytes = positives_room + Bits::bytes;

  SPARSEXMC_DEVICE DenseGradient(unsigned char* shared, const GradientArguments& a)
      : shared_(shared),
        s_(a.segment),
        a_(a),
        scratch_(reinterpret_cast<T*>(a.scratch + blockIdx.x * gradient_scratch(a.ldx, a.num_kept))) {}

  /// keys[groups, in_features] of a pack.
  SPARSEXMC_DEVICE void growth_keys(uint32_t* keys, int64_t pack) const {
    const int64_t tiles = labels ? 1 : tiles_per_group<Rows>(s_.group_size), first = pack * tiles;
    for (int64_t number = first; number < first + tiles; ++number) {
      const RowTile tile = Types::Source::tile(s_, number);
      for (int64_t k = 0; k < a_.num_kept; ++k) loss_gradients(k, number, tile);
      for (int64_t f = 0; f < s_.in_features; f += chunk_features) {
        stage_weight_gradients(f, number);
        __syncthreads();
        add_norms(keys, f, tile, number == first);
      }
    }
  }

 private:
  SPARSEXMC_DEVICE T* gradients_of(int64_t k) const { return scratch_ + k * Rows * a_.ldx; }

  /// D of a tile and a kept batch, into scratch. The mean over the instances and over the batches is in its scale.
  SPARSEXMC_DEVICE void loss_gradients(int64_t k, int64_t number, const RowTile& tile) const {
    const KeptBatch kept = a_.kept[k];
    const int column_tiles = static_cast<int>(ceil_div(kept.batch, Columns));
    Bits positives(shared_ + positives_room, kept.positives, kept.num_positives, tile.first_row);
    TileOfLoss loss(shared_ + loss_room, {a_.loss, 1.0f / static_cast<float>(kept.batch * a_.num_kept), a_.logit_scale,
                                          kept.instance_weights, kept.normaliser, kept.ldx});
    __syncthreads();  // the last readers of the loader's room have finished
    Loader loader(shared_, s_, static_cast<const T*>(kept.xt), kept.ldx, TileRange{number, number + 1}, column_tiles);
    for (int column_tile = 0; column_tile < column_tiles; ++column_tile) {
      const int64_t first_column = int64_t{column_tile} * Columns;
      float z[LogitGrid::width][4] = {};
      for (int chunk = 0; chunk < loader.chunks(); ++chunk) {
        loader.advance([&] {
          if (chunk == 0 && warp() == 7) positives.fill(tile, first_column, false);
        });
        if (LogitGrid::active())
          warp_product<Stored::transposed, Stored::plain>(z, loader.weights(), LogitGrid::row(), loader.inputs(),
                                                          LogitGrid::column(), chunk_features);
      }
      loss.apply(z, loader.bias(), positives, tile,
                 static_cast<int>(smaller<int64_t>(Columns, kept.batch - first_column)), s_.positive_weights,
                 first_column);
      __syncthreads();
      copy_gradients<true>(loss.gradients(), gradients_of(k) + first_column, Rows, a_.ldx);
    }
  }

  /// D X^T of a chunk, summed over all instances, into shared memory.
  SPARSEXMC_DEVICE void stage_weight_gradients(int64_t first_feature, int64_t number) const {
    using AllFeatures = LabelRows<T, typename Types::W, 32>;
    const Tile<T, Columns> inputs{reinterpret_cast<T*>(shared_)};
    const Tile<T, Columns> gradients{reinterpret_cast<T*>(shared_ + loss_room)};
    float dw[WeightGrid::width][4] = {};
    for (int64_t k = 0; k < a_.num_kept; ++k) {
      const KeptBatch kept = a_.kept[k];
      for (int64_t column = 0; column < kept.batch; column += Columns) {
        __syncthreads();
        load_inputs<AllFeatures>(inputs, s_, number, first_feature, static_cast<const T*>(kept.xt) + column, kept.ldx);
        copy_async_commit();
        copy_gradients<false>(gradients, gradients_of(k) + column, Rows, a_.ldx);
        copy_async_wait<0>();
        __syncthreads();
        if (WeightGrid::active())
          warp_product<Stored::plain, Stored::transposed>(dw, inputs, WeightGrid::row(), gradients,
                                                          WeightGrid::column(), Columns);
      }
    }
    if (!WeightGrid::active()) return;
#pragma unroll
    for (int n = 0; n < WeightGrid::width; ++n)
#pragma unroll
      for (int i = 0; i < 4; ++i)
        *staged().at(WeightGrid::row() + fragment_row(i), WeightGrid::column() + 8 * n + fragment_column(i)) = dw[n][i];
  }

  /// Sums over the rows of each group, in order, into the keys. Rows after the labels have no gradient.
  SPARSEXMC_DEVICE void add_norms(uint32_t* keys, int64_t first_feature, const RowTile& tile, bool first_tile) const {
    const int groups = labels ? tile.rows : 1, rows = labels ? 1 : tile.rows;
    for (int i = static_cast<int>(threadIdx.x); i < chunk_features * groups; i += block_threads) {
      const int feature = i % chunk_features, group = i / chunk_features;
      if (first_feature + feature >= s_.in_features) continue;
      uint32_t* key = keys + group * s_.in_features + first_feature + feature;
      float norm = first_tile ? 0.0f : growth_norm(*key);
      for (int row = 0; row < rows; ++row) norm += fabsf(*staged().at(feature, group + row));
      *key = turned_key(score_key(norm));
    }
  }

  SPARSEXMC_DEVICE Staged staged() const { return {reinterpret_cast<float*>(shared_ + staged_room)}; }

  unsigned char* shared_;
  const kernels::Segment& s_;
  const GradientArguments& a_;
  T* scratch_;  // [num_kept, Rows, ldx]
};

template <class Types>
SPARSEXMC_KERNEL(block_threads, 2)
dense_gradient_kernel(const GradientArguments a) {
  const DenseGradient<Types> gradient(shared_memory(), a);
  const int64_t pack_keys = gradient_pack(a.segment.group_size) * a.segment.in_features;
  for (int64_t i = blockIdx.x; i < a.packs; i += gridDim.x)
    gradient.growth_keys(a.keys + i * pack_keys, a.first_pack + i);
}

}  // namespace sparsexmc::cuda

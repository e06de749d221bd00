// The fused step on a GPU (DESIGN: fused step). A block owns `Columns` instances and keeps their dX, [H, Columns], in
// shared memory; the blocks of a cluster own the instances of the whole batch and walk the same row tiles together:
//
//   for each row tile:  Z = W P + bias    tensor cores, chunk by chunk of the features
//                       D = dloss/dZ      in registers, then to shared memory
//                       for each chunk:   dX[features] += W^T D;  dW = D P^T, summed over the cluster;  update
//
// Logits, D and dW never reach global memory, and nothing is accumulated by atomics: a place of dX has one owner at a
// time, and the parts of dX (one per cluster) are added in order afterwards. Where no cluster can hold the batch, the
// same kernel without the update takes the dX, and group_update.cuh the weights.
#pragma once

#include <type_traits>

#include "chunk_loader.cuh"
#include "positives.cuh"
#include "tile_loss.cuh"
#include "warp_product.cuh"
#include "weight_update.cuh"

namespace sparsexmc::cuda {

struct GroupStepArguments {
  kernels::Segment segment;
  const void* xt;  // [H, ldx]
  int64_t ldx, batch;
  const Positive* positives;
  int64_t num_positives;
  float* dx_parts;     // [parts, H, ldx]
  double* loss_parts;  // [parts * column_tiles]
  int64_t parts, column_tiles;
  int64_t window;  // features whose dX a block holds: all, or those from blockIdx.y * window on
  bool zero_dx, zero_loss;
  LossArguments loss;
  UpdateArguments update;
  const uint32_t* skip;
};

/// The types of a step.
/// @tparam T what the products read  @tparam W stored weights
/// @tparam labels tiles are of labels with features of their own, else of rows of a group
template <class T_, class W_, int rows, int columns, bool labels>
struct StepTypes {
  using T = T_;
  using W = W_;
  static constexpr int Rows = rows, Columns = columns;
  using Source = std::conditional_t<labels, LabelRows<T, W, Rows>, GroupRows<T, W, Rows>>;
  using Owner = std::conditional_t<labels, LabelUpdate<W, Rows>, GroupUpdate<W, Rows>>;
  template <bool backward>
  using Loader = ChunkLoader<T, W, Rows, Columns, backward, Source>;
  using Update = WeightUpdate<Owner, Rows>;

  static SPARSEXMC_HD TileRange tiles(const kernels::Segment& s, int64_t part, int64_t parts) {
    return labels ? part_label_tiles<Rows>(s, part, parts) : part_tiles<Rows>(s, part, parts);
  }
};

/// The room of a block in shared memory: the parts in this order, then dX.
template <class Types>
struct GroupStepRoom {
  static constexpr int Rows = Types::Rows, Columns = Types::Columns;
  static constexpr size_t loader = 0;
  static constexpr size_t loss = loader + Types::template Loader<true>::bytes;
  static constexpr size_t update = loss + TileLoss<typename Types::T, Rows, Columns>::bytes;
  static constexpr size_t positives = update + Types::Update::bytes;
  static constexpr size_t sums = positives + PositiveBits<Rows, Columns>::bytes;
  static constexpr size_t dx = (sums + 32 * sizeof(double) + 127) / 128 * 128;
  static constexpr SPARSEXMC_HD size_t bytes(int64_t window) {
    return dx + sizeof(float) * Columns * static_cast<size_t>(window);
  }
};

/// dX of the block's instances.
template <int Columns>
class InputGradient {
 public:
  SPARSEXMC_DEVICE InputGradient(unsigned char* shared, int64_t first_feature, int64_t features)
      : tile_{reinterpret_cast<float*>(shared)}, first_(first_feature), features_(features) {}

  /// Starts from zero, or from what an earlier segment left in `part` [H, ldx], at the block's first column.
  SPARSEXMC_DEVICE void load(const float* part, int64_t ldx, bool zero) {
    for (int64_t i = threadIdx.x; i < features_ * Columns; i += block_threads) {
      const int feature = static_cast<int>(i / Columns), column = static_cast<int>(i % Columns);
      *tile_.at(feature, column) = zero ? 0.0f : part[(first_ + feature) * ldx + column];
    }
  }
  SPARSEXMC_DEVICE void store(float* part, int64_t ldx) const {
    for (int64_t i = threadIdx.x; i < features_ * Columns; i += block_threads) {
      const int feature = static_cast<int>(i / Columns), column = static_cast<int>(i % Columns);
      part[(first_ + feature) * ldx + column] = *tile_.at(feature, column);
    }
  }

  /// Adds a warp's block of W^T D, whose rows are the places of a chunk.
  template <class Grid>
  SPARSEXMC_DEVICE void add(const float (&acc)[Grid::width][4], const uint32_t* features) const {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const uint32_t feature = features[Grid::row() + fragment_row(2 * half)];
      const int64_t place = static_cast<int64_t>(feature) - first_;
      if (feature == no_feature || place < 0 || place >= features_) continue;
#pragma unroll
      for (int n = 0; n < Grid::width; ++n) {
        auto* pair =
            reinterpret_cast<float2*>(tile_.at(static_cast<int>(place), Grid::column() + 8 * n + fragment_column(0)));
        const float2 old = *pair;
        *pair = make_float2(old.x + acc[n][2 * half], old.y + acc[n][2 * half + 1]);
      }
    }
  }

 private:
  Tile<float, Columns> tile_;
  int64_t first_, features_;
};

/// @tparam with_update a cluster of column_tiles blocks holds the batch and updates the weights; else only dX is made
template <class Types, bool with_update>
SPARSEXMC_KERNEL(block_threads, 1)
group_step_kernel(const GroupStepArguments p) {
  using T = typename Types::T;
  using Room = GroupStepRoom<Types>;
  constexpr int Rows = Types::Rows, Columns = Types::Columns;
  using LogitGrid = WarpGrid<Rows, Columns>;
  using InputGrid = WarpGrid<chunk_features, Columns>;
  using WeightGrid = WarpGrid<chunk_features, Rows>;
  if (p.skip != nullptr && *p.skip != 0) return;

  unsigned char* shared = shared_memory();
  const int64_t part = blockIdx.x / p.column_tiles, column_tile = blockIdx.x % p.column_tiles;
  const int64_t first_column = column_tile * Columns;
  const int columns = static_cast<int>(smaller<int64_t>(Columns, p.batch - first_column));
  const int64_t first_feature = blockIdx.y * p.window;
  const int64_t features = smaller(p.window, p.segment.in_features - first_feature);
  const TileRange range = Types::tiles(p.segment, part, p.parts);
  const int64_t first_row = range.first < range.last ? Types::Source::tile(p.segment, range.first).first_row : 0;

  InputGradient<Columns> dx(shared + Room::dx, first_feature, features);
  float* dx_part = p.dx_parts + part * p.segment.in_features * p.ldx + first_column;
  dx.load(dx_part, p.ldx, p.zero_dx);
  PositiveBits<Rows, Columns> positives(shared + Room::positives, p.positives, p.num_positives, first_row);
  TileLoss<T, Rows, Columns> loss(shared + Room::loss, p.loss);
  typename Types::Update update(shared + Room::update, p.segment, p.update,
                                with_update ? static_cast<int>(p.column_tiles) : 1);
  typename Types::template Loader<true> loader(shared + Room::loader, p.segment,
                                               static_cast<const T*>(p.xt) + first_column, p.ldx, range);

  for (int64_t number = range.first; number < range.last; ++number) {
    const RowTile tile = Types::Source::tile(p.segment, number);
    float z[LogitGrid::width][4] = {};
    for (int chunk = 0; chunk < loader.chunks(); ++chunk) {
      loader.advance([&] {
        if (chunk == 0 && warp() == 7) positives.fill(tile, first_column);
      });
      if (LogitGrid::active())
        warp_product<Stored::transposed, Stored::plain>(z, loader.weights(), LogitGrid::row(), loader.inputs(),
                                                        LogitGrid::column(), chunk_features);
    }
    loss.apply(z, loader.bias(), positives, tile, columns, p.segment.positive_weights, first_column);
    __syncthreads();

    for (int chunk = loader.chunks() - 1; chunk >= 0; --chunk) {
      const bool last_chunk = chunk == loader.chunks() - 1;  // still in place from the way up
      if (!last_chunk) loader.advance([] {});
      if constexpr (with_update) update.apply();
      float dx_acc[InputGrid::width][4] = {};
      if (InputGrid::active()) {
        warp_product<Stored::plain, Stored::plain>(dx_acc, loader.weights(), InputGrid::row(), loss.gradients(),
                                                   InputGrid::column(), Rows);
        dx.template add<InputGrid>(dx_acc, loader.features());
      }
      if constexpr (with_update) {
        float dw_acc[WeightGrid::width][4] = {};
        if (WeightGrid::active())
          warp_product<Stored::plain, Stored::transposed>(dw_acc, loader.inputs(), WeightGrid::row(), loss.gradients(),
                                                          WeightGrid::column(), Columns);
        update.stage(dw_acc, tile, int64_t{chunk} * chunk_features, loader.entries(), last_chunk,
                     [&](int row) { return loss.bias_gradient(row); });
      }
    }
  }

  __syncthreads();
  if constexpr (with_update) {
    update.apply();
    update.wait_until_free();  // no block leaves while another reads its shared memory
  }
  dx.store(dx_part, p.ldx);
  const double total = block_sum(loss.loss(), reinterpret_cast<double*>(shared + Room::sums));
  if (threadIdx.x == 0 && blockIdx.y == 0)
    p.loss_parts[blockIdx.x] = total + (p.zero_loss ? 0.0 : p.loss_parts[blockIdx.x]);
}

}  // namespace sparsexmc::cuda

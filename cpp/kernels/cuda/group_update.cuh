// The weights' half of a step whose batch no cluster can hold: a block owns whole row tiles and visits the instances
// one tile of columns after the other. It makes the logits a second time (group_step.cuh has taken dX), and keeps D of
// its row tile in scratch of its own, [Rows, ldx], until dW of each chunk has been summed over the whole batch.
#pragma once

#include "group_step.cuh"

namespace sparsexmc::cuda {

struct GroupUpdateArguments {
  GroupStepArguments step;  // dX, windows and losses are not used
  void* scratch;            // [blocks, Rows, ldx] of T
};

template <class Types>
struct GroupUpdateRoom {
  static constexpr int Rows = Types::Rows, Columns = Types::Columns;
  static constexpr size_t loader = 0;
  static constexpr size_t inputs = loader + Types::template Loader<false>::bytes;
  static constexpr size_t loss = inputs + Tile<typename Types::T, Columns>::bytes(chunk_features);
  static constexpr size_t update = loss + TileLoss<typename Types::T, Rows, Columns>::bytes;
  static constexpr size_t positives = update + Types::Update::bytes;
  static constexpr size_t bytes = positives + PositiveBits<Rows, Columns>::bytes;
};

/// Rows of X^T of one chunk into shared memory, without looking ahead.
template <class Source, class T, int Columns>
SPARSEXMC_DEVICE void load_inputs(const Tile<T, Columns>& to, const kernels::Segment& s, int64_t tile, int64_t first,
                                  const T* xt, int64_t ldx) {
  constexpr int chunks = Tile<T, Columns>::chunks;
  for (int i = static_cast<int>(threadIdx.x); i < chunk_features * chunks; i += block_threads) {
    const int row = i / chunks, column = i % chunks * Tile<T, Columns>::chunk;
    const bool valid = first + row < Source::places(s);
    const int64_t feature = valid ? Source::feature(s, tile, first + row) : 0;
    copy_async_16_or_zero(to.at(row, column), xt + feature * ldx + column, valid);
  }
}

/// A tile of columns of the block's D, from shared memory to scratch or back, 16 bytes at a time.
template <bool to_scratch, class T, int Columns>
SPARSEXMC_DEVICE void copy_gradients(const Tile<T, Columns>& tile, T* scratch, int rows, int64_t ldx) {
  constexpr int chunks = Tile<T, Columns>::chunks;
  for (int i = static_cast<int>(threadIdx.x); i < rows * chunks; i += block_threads) {
    const int row = i / chunks, column = i % chunks * Tile<T, Columns>::chunk;
    auto* inside = reinterpret_cast<uint4*>(tile.at(row, column));
    auto* outside = reinterpret_cast<uint4*>(scratch + row * ldx + column);
    if constexpr (to_scratch)
      *outside = *inside;
    else
      *inside = *outside;
  }
}

template <class Types>
SPARSEXMC_KERNEL(block_threads, 2)
group_update_kernel(const GroupUpdateArguments arguments) {
  using T = typename Types::T;
  using Source = typename Types::Source;
  using Room = GroupUpdateRoom<Types>;
  constexpr int Rows = Types::Rows, Columns = Types::Columns;
  using LogitGrid = WarpGrid<Rows, Columns>;
  using WeightGrid = WarpGrid<chunk_features, Rows>;
  const GroupStepArguments& p = arguments.step;
  if (p.skip != nullptr && *p.skip != 0) return;

  unsigned char* shared = shared_memory();
  const TileRange range = Types::tiles(p.segment, blockIdx.x, gridDim.x);
  if (range.first >= range.last) return;
  const T* xt = static_cast<const T*>(p.xt);
  T* scratch = static_cast<T*>(arguments.scratch) + static_cast<int64_t>(blockIdx.x) * Rows * p.ldx;
  const int column_tiles = static_cast<int>(ceil_div(p.batch, Columns));
  const Tile<T, Columns> inputs{reinterpret_cast<T*>(shared + Room::inputs)};
  PositiveBits<Rows, Columns> positives(shared + Room::positives, p.positives, p.num_positives,
                                        Source::tile(p.segment, range.first).first_row);
  TileLoss<T, Rows, Columns> loss(shared + Room::loss, p.loss);
  typename Types::Update update(shared + Room::update, p.segment, p.update, 1);
  typename Types::template Loader<false> loader(shared + Room::loader, p.segment, xt, p.ldx, range, column_tiles);
  const bool one_chunk = loader.chunks() == 1;

  for (int64_t number = range.first; number < range.last; ++number) {
    const RowTile tile = Source::tile(p.segment, number);
    float bias_gradient = 0.0f;  // of row threadIdx.x
    float dw[WeightGrid::width][4] = {};
    for (int column_tile = 0; column_tile < column_tiles; ++column_tile) {
      const int64_t first_column = int64_t{column_tile} * Columns;
      float z[LogitGrid::width][4] = {};
      for (int chunk = 0; chunk < loader.chunks(); ++chunk) {
        loader.advance([&] {
          if (chunk == 0 && warp() == 7) positives.fill(tile, first_column, column_tile == column_tiles - 1);
        });
        if (LogitGrid::active())
          warp_product<Stored::transposed, Stored::plain>(z, loader.weights(), LogitGrid::row(), loader.inputs(),
                                                          LogitGrid::column(), chunk_features);
      }
      loss.apply(z, loader.bias(), positives, tile, static_cast<int>(smaller<int64_t>(Columns, p.batch - first_column)),
                 p.segment.positive_weights, first_column);
      __syncthreads();
      if (threadIdx.x < Rows) bias_gradient += loss.bias_gradient(static_cast<int>(threadIdx.x));
      if (!one_chunk)
        copy_gradients<true>(loss.gradients(), scratch + first_column, Rows, p.ldx);
      else if (WeightGrid::active())
        warp_product<Stored::plain, Stored::transposed>(dw, loader.inputs(), WeightGrid::row(), loss.gradients(),
                                                        WeightGrid::column(), Columns);
    }
    if (one_chunk) {
      update.stage(dw, tile, 0, loader.entries(), true, [&](int) { return bias_gradient; });
      __syncthreads();
      update.apply();
      continue;
    }

    Source source;
    for (int chunk = 0; chunk < loader.chunks(); ++chunk) {
      const int64_t first = int64_t{chunk} * chunk_features;
      float sum[WeightGrid::width][4] = {};
      for (int column_tile = 0; column_tile < column_tiles; ++column_tile) {
        const int64_t first_column = int64_t{column_tile} * Columns;
        __syncthreads();
        load_inputs<Source>(inputs, p.segment, number, first, xt + first_column, p.ldx);
        copy_gradients<false>(loss.gradients(), scratch + first_column, Rows, p.ldx);
        copy_async_commit();
        copy_async_wait<0>();
        __syncthreads();
        if (WeightGrid::active())
          warp_product<Stored::plain, Stored::transposed>(sum, inputs, WeightGrid::row(), loss.gradients(),
                                                          WeightGrid::column(), Columns);
      }
      update.stage(sum, tile, first, source.find(p.segment, tile, first, chunk == 0, true), chunk == 0,
                   [&](int) { return bias_gradient; });
      __syncthreads();
      update.apply();
    }
  }
}

}  // namespace sparsexmc::cuda

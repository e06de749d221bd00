// Pass 1 of a normalised loss on a GPU: maximum and sum of exponentials of every instance. Blocks, tiles and products
// are those of the top-k; a logit goes from the accumulators into two numbers of its lane, and is forgotten.
#pragma once

#include "arithmetic.cuh"
#include "first_positive.h"
#include "normaliser.h"
#include "topk.cuh"

namespace sparsexmc::cuda {

struct NormaliseArguments {
  kernels::Normalise normalise;
  int64_t parts, column_tiles;
};

inline constexpr float lowest_logit = -3.4028234664e38f;

/// Maximum and sum of exp(logit - maximum) of some logits. The sum of a NaN is NaN.
template <class Math>
struct RunningSum {
  float maximum = lowest_logit, sum = 0.0f;

  SPARSEXMC_DEVICE void add(float first, float second) {
    const float top = fmaxf(maximum, fmaxf(first, second));
    sum = sum * Math::exp_nonpositive(maximum - top) + Math::exp_nonpositive(first - top) +
          Math::exp_nonpositive(second - top);
    maximum = top;
  }
  SPARSEXMC_DEVICE void merge(float other_maximum, float other_sum) {
    const float top = fmaxf(maximum, other_maximum);
    sum = sum * Math::exp_nonpositive(maximum - top) + other_sum * Math::exp_nonpositive(other_maximum - top);
    maximum = top;
  }
};

/// As TopKTypes, with room for one pair of numbers per row of warps and instance in place of the lists.
template <class T_, class W, int rows, bool labels>
struct NormaliseTypes : TopKTypes<T_, W, rows, labels> {
  using Base = TopKTypes<T_, W, rows, labels>;
  using Grid = WarpGrid<rows, topk_columns>;
  static constexpr size_t shared = Base::Loader::bytes + 2 * sizeof(float) * Grid::row_blocks * topk_columns;
};

template <class Types>
SPARSEXMC_KERNEL(block_threads, 2)
normalise_kernel(const NormaliseArguments a) {
  using Loader = typename Types::Loader;
  using Grid = typename Types::Grid;
  using Math = std::conditional_t<is_fp32<typename Types::T>, ExactMath, FastMath>;
  static_assert(Grid::width * Grid::warps_per_row_block == Grid::column_blocks, "every warp has its share of Z");
  const kernels::Normalise& p = a.normalise;
  const int64_t part = blockIdx.x / a.column_tiles, first_column = blockIdx.x % a.column_tiles * topk_columns;
  const int columns = static_cast<int>(smaller<int64_t>(topk_columns, p.batch - first_column));
  const TileRange range = Types::tiles(p.segment, part, a.parts);

  unsigned char* shared = shared_memory();
  Loader loader(shared, p.segment, static_cast<const typename Types::T*>(p.xt) + first_column, p.ldx, range);
  RunningSum<Math> running[Grid::width][2];

  for (int64_t number = range.first; number < range.last; ++number) {
    const RowTile tile = Types::Source::tile(p.segment, number);
    float z[Grid::width][4] = {};
    for (int chunk = 0; chunk < loader.chunks(); ++chunk) {
      loader.advance([] {});
      warp_product<Stored::transposed, Stored::plain>(z, loader.weights(), Grid::row(), loader.inputs(), Grid::column(),
                                                      chunk_features);
    }
    const int first_row = Grid::row() + fragment_row(0), second_row = Grid::row() + fragment_row(2);
#pragma unroll
    for (int n = 0; n < Grid::width; ++n)
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        if (first_row >= tile.valid) continue;
        const float first = p.logit_scale * (z[n][j] + loader.bias()[first_row]);
        const float second =
            second_row < tile.valid ? p.logit_scale * (z[n][2 + j] + loader.bias()[second_row]) : lowest_logit;
        running[n][j].add(first, second);
      }
  }

  // The eight lanes that have rows of an instance, then the warps, always in the same order.
  auto* maxima = reinterpret_cast<float*>(shared + Loader::bytes);  // [row_blocks, topk_columns]
  float* sums = maxima + Grid::row_blocks * topk_columns;
#pragma unroll
  for (int n = 0; n < Grid::width; ++n)
#pragma unroll
    for (int j = 0; j < 2; ++j) {
#pragma unroll
      for (int distance = 4; distance < 32; distance *= 2)
        running[n][j].merge(__shfl_xor_sync(full_warp, running[n][j].maximum, distance),
                            __shfl_xor_sync(full_warp, running[n][j].sum, distance));
      if (lane() < 4) {
        const int place = Grid::row() / 16 * topk_columns + Grid::column() + 8 * n + fragment_column(j);
        maxima[place] = running[n][j].maximum;
        sums[place] = running[n][j].sum;
      }
    }
  __syncthreads();
  const int column = static_cast<int>(threadIdx.x);
  if (column >= columns) return;
  float* statistics = p.statistics + part * 4 * p.ldx + first_column + column;
  RunningSum<Math> all;
  float positives = 0.0f, weights = 0.0f;
  if (!p.first) {
    all = {statistics[0], statistics[p.ldx]};
    positives = statistics[2 * p.ldx];
    weights = statistics[3 * p.ldx];
  }
  for (int block = 0; block < Grid::row_blocks; ++block)
    all.merge(maxima[block * topk_columns + column], sums[block * topk_columns + column]);
  if (range.first < range.last) {
    const RowTile last = Types::Source::tile(p.segment, range.last - 1);
    for (int64_t i = kernels::first_positive(p.positives, p.num_positives,
                                             Types::Source::tile(p.segment, range.first).first_row);
         i < p.num_positives && static_cast<int64_t>(p.positives[i].row) < last.first_row + last.rows; ++i) {
      if (static_cast<int64_t>(p.positives[i].column) != first_column + column) continue;
      positives += 1.0f;
      weights += p.segment.positive_weights == nullptr ? 1.0f : p.segment.positive_weights[p.positives[i].row];
    }
  }
  statistics[0] = all.maximum;
  statistics[p.ldx] = all.sum;
  statistics[2 * p.ldx] = positives;
  statistics[3 * p.ldx] = weights;
}

/// One block: a thread takes every block_threads-th instance.
static SPARSEXMC_KERNEL(block_threads, 1) finish_normaliser_kernel(const kernels::FinishNormaliser p) {
  double loss = 0.0;
  for (int64_t b = threadIdx.x; b < p.ldx; b += block_threads) {
    kernels::InstanceStatistics all;
    for (int64_t part = 0; b < p.batch && part < p.parts; ++part) all.add(p.statistics + part * 4 * p.ldx + b, p.ldx);
    loss += kernels::finish_instance(p, b, all);
  }
  const double total = block_sum(loss, reinterpret_cast<double*>(shared_memory()));
  if (threadIdx.x == 0 && p.loss != nullptr) *p.loss = total;
}

}  // namespace sparsexmc::cuda

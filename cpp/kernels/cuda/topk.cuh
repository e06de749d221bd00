// Fused top-k on a GPU. A block owns 64 instances and a range of row tiles, one of `parts`:
//
//   for each row tile:  Z = W P + bias     tensor cores, chunk by chunk of the features; stays in registers
//                       offer              the few logits ranked before the last place of their instance's list go to
//                                          a buffer in shared memory
//   now and then:       merge              a warp sorts a full buffer into the list, which moves the last place up
//
// The batch x labels matrix never exists, and a tile in which nothing passes costs a comparison per logit. As the order
// is strict, the lists do not depend on when and by whom they were merged.
#pragma once

#include <type_traits>

#include "chunk_loader.cuh"
#include "sorted_list.cuh"
#include "warp_product.cuh"

namespace sparsexmc::cuda {

inline constexpr int topk_columns = 64;  // instances of a block

inline int64_t column_tiles_of(int64_t batch) { return ceil_div(batch, topk_columns); }

/// Parts of the labels, hence lists of an instance: as many as keep two blocks on each multiprocessor in one wave.
inline int64_t parts_of(const kernels::Machine& machine, int64_t batch) {
  return larger<int64_t>(1, 2 * machine.workers / column_tiles_of(batch));
}

struct TopKArguments {
  kernels::TopK topk;  // lists [parts, batch, k]
  int64_t parts, column_tiles;
};

/// The lists of a block's instances. Warp w keeps those of the columns w, w + 8, ... in order.
template <int Rows>
class BlockLists {
 public:
  using Grid = WarpGrid<Rows, topk_columns>;

 private:
  static constexpr int full = 16;  // candidates that are worth a merge
  static constexpr int room = full - 1 + Rows;

 public:
  static constexpr size_t bytes = topk_columns * ((room + 1) * sizeof(Candidate) + sizeof(int));

  /// @param lists [columns, k], those of the block's part  @param clear they hold nothing yet
  SPARSEXMC_DEVICE BlockLists(unsigned char* shared, Candidate* lists, int64_t k, int columns, bool clear)
      : lists_(lists), k_(k) {
    buffers_ = reinterpret_cast<Candidate*>(shared);
    lasts_ = buffers_ + topk_columns * room;
    counts_ = reinterpret_cast<int*>(lasts_ + topk_columns);
    for (int column = warp(); column < topk_columns; column += 8) {
      Candidate last{__uint_as_float(0x7F800000u), 0};  // padding columns: nothing is ranked before this
      if (column < columns) {
        if (clear) list(column).clear();
        last = clear ? no_candidate() : list(column).last();
      }
      if (lane() == 0) {
        store_candidate(lasts_ + column, last);
        counts_[column] = 0;
      }
    }
  }

  /// Buffers those of this warp's logits that may get into a list. A barrier must lie between this and merge().
  /// @param labels of this lane's two rows  @param valid rows of the tile that are labels
  SPARSEXMC_DEVICE void offer(const float (&z)[Grid::width][4], const float* bias, const uint32_t (&labels)[2],
                              int valid) const {
#pragma unroll
    for (int n = 0; n < Grid::width; ++n) {
      const int column = Grid::column() + 8 * n + fragment_column(0);
      const Candidate lasts[2] = {load_candidate(lasts_ + column), load_candidate(lasts_ + column + 1)};
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int row = Grid::row() + fragment_row(i);
        // NaN becomes infinity: ranked first, so that whoever reads the scores sees that they are wrong.
        const Candidate offered{fminf(z[n][i] + bias[row], __uint_as_float(0x7F800000u)), labels[i / 2]};
        if (row < valid && before(offered, lasts[i % 2])) buffer(column + i % 2, offered);
      }
    }
  }

  /// Makes room for another tile. A barrier must lie between this and the next offer().
  SPARSEXMC_DEVICE void merge_full() const { merge(full); }
  SPARSEXMC_DEVICE void merge_all() const { merge(1); }

 private:
  SPARSEXMC_DEVICE SortedList list(int column) const { return {lists_ + column * k_, k_}; }

  SPARSEXMC_DEVICE void buffer(int column, const Candidate& c) const {
    store_candidate(buffers_ + column * room + atomicAdd(counts_ + column, 1), c);
  }

  /// Merges the buffers of this warp that hold at least `least`, until they hold fewer.
  SPARSEXMC_DEVICE void merge(int least) const {
    constexpr int columns = topk_columns / 8;
    const bool due = lane() < columns && counts_[warp() + 8 * lane()] >= least;
    for (uint32_t left = __ballot_sync(full_warp, due); left != 0; left &= left - 1) {
      const int column = warp() + 8 * (__ffs(static_cast<int>(left)) - 1);
      int count = counts_[column];
      Candidate last;
      do {
        const int taken = smaller(count, 32);
        count -= taken;
        Candidate mine = no_candidate();
        if (lane() < taken) mine = load_candidate(buffers_ + column * room + count + lane());
        sort(mine);
        last = list(column).add(mine);
      } while (count >= least);
      __syncwarp();  // all have read the count
      if (lane() == 0) {
        store_candidate(lasts_ + column, last);
        counts_[column] = count;
      }
    }
  }

  Candidate* lists_;
  int64_t k_;
  Candidate* buffers_;  // [topk_columns, room]
  Candidate* lasts_;    // [topk_columns]: last place of each list
  int* counts_;         // [topk_columns]: candidates in each buffer
};

/// The types of a top-k. @tparam labels tiles are of labels with features of their own, else of rows of a group
template <class T_, class W, int rows, bool labels>
struct TopKTypes {
  using T = T_;
  static constexpr int Rows = rows;
  using Source = std::conditional_t<labels, LabelRows<T, W, Rows>, GroupRows<T, W, Rows>>;
  using Loader = ChunkLoader<T, W, Rows, topk_columns, false, Source>;
  using Lists = BlockLists<Rows>;
  static constexpr size_t shared = Loader::bytes + Lists::bytes;

  static SPARSEXMC_HD TileRange tiles(const kernels::Segment& s, int64_t part, int64_t parts) {
    return labels ? part_label_tiles<Rows>(s, part, parts) : part_tiles<Rows>(s, part, parts);
  }
};

template <class Types>
SPARSEXMC_KERNEL(block_threads, 2)
topk_kernel(const TopKArguments a) {
  using Loader = typename Types::Loader;
  using Lists = typename Types::Lists;
  using Grid = typename Lists::Grid;
  static_assert(Grid::width * Grid::warps_per_row_block == Grid::column_blocks, "every warp has its share of Z");
  const kernels::TopK& p = a.topk;
  const int64_t part = blockIdx.x / a.column_tiles, first_column = blockIdx.x % a.column_tiles * topk_columns;
  const int columns = static_cast<int>(smaller<int64_t>(topk_columns, p.batch - first_column));
  const TileRange range = Types::tiles(p.segment, part, a.parts);

  unsigned char* shared = shared_memory();
  Loader loader(shared, p.segment, static_cast<const typename Types::T*>(p.xt) + first_column, p.ldx, range);
  const Lists lists(shared + Loader::bytes, p.lists + (part * p.batch + first_column) * p.k, p.k, columns, p.first);

  for (int64_t number = range.first; number < range.last; ++number) {
    const RowTile tile = Types::Source::tile(p.segment, number);
    uint32_t labels[2] = {};
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = Grid::row() + fragment_row(2 * half);
      if (row < tile.valid) labels[half] = p.labels[tile.first_row + row];
    }
    float z[Grid::width][4] = {};
    for (int chunk = 0; chunk < loader.chunks(); ++chunk) {
      loader.advance([&] {
        if (chunk == 0) lists.merge_full();
      });
      warp_product<Stored::transposed, Stored::plain>(z, loader.weights(), Grid::row(), loader.inputs(), Grid::column(),
                                                      chunk_features);
    }
    lists.offer(z, loader.bias(), labels, tile.valid);
  }
  __syncthreads();
  lists.merge_all();
}

}  // namespace sparsexmc::cuda

// Where the rows of a tile get their weights from: rows of a group share their features, labels with features of their
// own are packed into tiles that read every feature, mostly with weight zero.
#pragma once

#include "row_tiles.cuh"
#include "tile.cuh"
#include "update.cuh"

namespace sparsexmc::cuda {

/// Marks a place after the fan-in, in the list of a chunk's features.
inline constexpr uint32_t no_feature = 0xFFFFFFFFu;

/// Four consecutive weights, or fewer at the edge of a group; the rest is zero.
template <class W>
SPARSEXMC_DEVICE void load_weights(float (&out)[4], const W* weights, int count, bool aligned) {
  if (aligned && count >= 4) {
    if constexpr (is_fp32<W>) {
      const float4 v = *reinterpret_cast<const float4*>(weights);
      out[0] = v.x, out[1] = v.y, out[2] = v.z, out[3] = v.w;
    } else {
      const uint2 v = *reinterpret_cast<const uint2*>(weights);
      out[0] = __uint_as_float(v.x << 16), out[1] = __uint_as_float(v.x & 0xFFFF0000u);
      out[2] = __uint_as_float(v.y << 16), out[3] = __uint_as_float(v.y & 0xFFFF0000u);
    }
    return;
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) out[i] = i < count ? load_weight(weights + i) : 0.0f;
}

SPARSEXMC_DEVICE void store_four(bfloat16* to, const float (&v)[4]) {
  *reinterpret_cast<uint2*>(to) = make_uint2(pack_bfloat16(v[0], v[1]), pack_bfloat16(v[2], v[3]));
}
SPARSEXMC_DEVICE void store_four(float* to, const float (&v)[4]) {
  *reinterpret_cast<float4*>(to) = make_float4(v[0], v[1], v[2], v[3]);
}

/// Places of one label's fan-in whose features lie in the current chunk; unused where rows share their features.
struct Entries {
  int begin = 0, end = 0;
};

/// Weights of a tile of rows of one group: place f of the fan-in is row f of the chunks.
template <class T, class W, int Rows>
class GroupRows {
 public:
  using Weights = Tile<T, Rows>;  // [chunk_features, Rows]

  static SPARSEXMC_DEVICE RowTile tile(const kernels::Segment& s, int64_t number) { return row_tile<Rows>(s, number); }
  static SPARSEXMC_HD int64_t places(const kernels::Segment& s) { return s.fan_in; }
  static SPARSEXMC_DEVICE uint32_t feature(const kernels::Segment& s, int64_t number, int64_t place) {
    return feature_at(s, number / tiles_per_group<Rows>(s.group_size), place);
  }

  SPARSEXMC_DEVICE Entries find(const kernels::Segment&, const RowTile&, int64_t, bool, bool) { return {}; }

  /// Starts to read the weights of a chunk.
  SPARSEXMC_DEVICE void fetch(const kernels::Segment& s, const RowTile& tile, int64_t first, bool, bool) {
    const bool aligned = s.group_size % 4 == 0;
#pragma unroll
    for (int i = 0; i < quads; ++i) {
      const int64_t f = first + feature_of(i);
      const int left = f < s.fan_in ? tile.rows - row_of(i) : 0;
      const int64_t at = (tile.group * s.fan_in + f) * s.group_size + tile.offset + row_of(i);
      load_weights(weights_[i], elements<W>(s.weights) + (left > 0 ? at : 0), left, aligned);
    }
  }
  /// Puts them into shared memory, which nobody reads at this time.
  SPARSEXMC_DEVICE void put(const kernels::Segment&, const Weights& to) {
#pragma unroll
    for (int i = 0; i < quads; ++i) store_four(to.at(feature_of(i), row_of(i)), weights_[i]);
  }
  SPARSEXMC_DEVICE Entries entries() const { return {}; }

 private:
  static constexpr int quads = chunk_features * Rows / 4 / block_threads;  // fours of weights per thread
  static_assert(quads >= 1);

  static SPARSEXMC_DEVICE int feature_of(int i) {
    return (static_cast<int>(threadIdx.x) + i * block_threads) / (Rows / 4);
  }
  static SPARSEXMC_DEVICE int row_of(int i) {
    return (static_cast<int>(threadIdx.x) + i * block_threads) % (Rows / 4) * 4;
  }

  float weights_[quads][4];
};

/// Weights of a tile of labels with features of their own (group_size 1), eight threads to a label. The tile reads
/// every feature: tensor cores are so much faster than gathered products that the zeros cost less than they would. A
/// label's indices rise, so its entries in a chunk are a range, which moves up with the chunks and down again.
template <class T, class W, int Rows>
class LabelRows {
 public:
  using Weights = Tile<T, Rows>;
  static constexpr int threads_per_row = block_threads / Rows;
  static_assert(threads_per_row == 8);

  static SPARSEXMC_DEVICE RowTile tile(const kernels::Segment& s, int64_t number) {
    return label_tile<Rows>(s, number);
  }
  static SPARSEXMC_HD int64_t places(const kernels::Segment& s) { return s.in_features; }
  static SPARSEXMC_DEVICE uint32_t feature(const kernels::Segment&, int64_t, int64_t place) {
    return static_cast<uint32_t>(place);
  }
  /// The label of this thread, within its tile.
  static SPARSEXMC_DEVICE int row() { return static_cast<int>(threadIdx.x) / threads_per_row; }
  static SPARSEXMC_DEVICE int slot() { return static_cast<int>(threadIdx.x) % threads_per_row; }

  /// Entries of this thread's label in the chunk from feature `first` on.
  /// @param start first chunk of a tile  @param rising the chunks come in ascending order, else descending
  SPARSEXMC_DEVICE Entries find(const kernels::Segment& s, const RowTile& tile, int64_t first, bool start,
                                bool rising) {
    first_ = first;
    label_ = tile.first_row + row();
    const int fan_in = row() < tile.rows ? static_cast<int>(s.fan_in) : 0;
    const int from = start ? 0 : rising ? next_.end : next_.begin;
    const int low = lane() / threads_per_row * threads_per_row;
    int edge = from;
    // Eight places of each label at a time; those in the chunk come first.
    for (bool more = true; __any_sync(full_warp, more);) {
      const int place = rising ? edge + slot() : edge - 1 - slot();
      bool inside = more && place >= 0 && place < fan_in;
      if (inside) {
        const int64_t feature = feature_at(s, label_, place);
        inside = rising ? feature < first + chunk_features : feature >= first;
      }
      const int found = __popc(__ballot_sync(full_warp, inside) >> low & 0xFFu);
      edge += rising ? found : -found;
      more = found == threads_per_row;
    }
    next_ = rising ? Entries{from, edge} : Entries{edge, from};
    return next_;
  }

  SPARSEXMC_DEVICE void fetch(const kernels::Segment& s, const RowTile& tile, int64_t first, bool start, bool rising) {
    find(s, tile, first, start, rising);
    if (next_.begin + slot() < next_.end) load(s, next_.begin + slot());
  }

  SPARSEXMC_DEVICE void put(const kernels::Segment& s, const Weights& to) {
    float zero[4] = {};
    for (int i = static_cast<int>(threadIdx.x); i < chunk_features * Rows / 4; i += block_threads)
      store_four(to.at(i / (Rows / 4), i % (Rows / 4) * 4), zero);
    __syncthreads();
    for (int place = next_.begin + slot(); place < next_.end; place += threads_per_row) {
      if (place >= next_.begin + threads_per_row) load(s, place);
      set(to.at(static_cast<int>(feature_ - first_), row()));
    }
    current_ = next_;
  }
  SPARSEXMC_DEVICE Entries entries() const { return current_; }

 private:
  SPARSEXMC_DEVICE void load(const kernels::Segment& s, int place) {
    feature_ = feature_at(s, label_, place);
    weight_ = load_weight(elements<W>(s.weights) + label_ * s.fan_in + place);
  }
  SPARSEXMC_DEVICE void set(bfloat16* to) const { *to = to_bfloat16(weight_); }
  SPARSEXMC_DEVICE void set(float* to) const { *to = weight_; }

  Entries next_, current_;
  int64_t label_ = 0, first_ = 0, feature_ = 0;
  float weight_ = 0.0f;
};

}  // namespace sparsexmc::cuda

// The weights that a thread updates from a staged chunk of dW, for tiles of a group and for tiles of single labels.
#pragma once

#include "row_weights.cuh"
#include "update.cuh"

namespace sparsexmc::cuda {

/// Everything that an update needs besides the gradient.
struct UpdateArguments {
  kernels::OptimizerStep optimizer;
  uint64_t seed, step;  // of the rounding
  int64_t first_row;    // of the segment in the internal order
};

/// The four numbers, or `count` of them.
SPARSEXMC_DEVICE void store_weights(float* to, const float (&v)[4], int count, bool whole) {
  if (whole) {
    store_four(to, v);
    return;
  }
#pragma unroll
  for (int i = 0; i < 4; ++i)
    if (i < count) to[i] = v[i];
}

/// Four weights of a row tile at one place of the fan-in, with their state: read early, updated later.
template <class W>
struct WeightQuad {
  int64_t at;   // of the first, in the segment's weights
  int64_t row;  // of the first, in the internal order
  int64_t place;
  int count;  // how many of the four exist; 0: none
  float w[4], state[2][4];

  SPARSEXMC_DEVICE void load(const kernels::Segment& s) {
    if (count <= 0) return;
    const bool aligned = s.group_size % 4 == 0;
    load_weights(w, elements<W>(s.weights) + at, count, aligned);
#pragma unroll
    for (int i = 0; i < 2; ++i)
      if (exists(s.weight_state[i])) load_weights(state[i], elements<float>(s.weight_state[i]) + at, count, aligned);
  }

  SPARSEXMC_DEVICE void update(const kernels::Segment& s, const float (&g)[4], const UpdateArguments& u) {
    const bool whole = s.group_size % 4 == 0 && count >= 4, has_state = exists(s.weight_state[0]);
#pragma unroll
    for (int i = 0; i < 4; ++i)
      update_weight(w[i], state[0][i], state[1][i], g[i], u.optimizer.weight_decay, u.optimizer, has_state);
    W* weights = elements<W>(s.weights) + at;
    if constexpr (is_fp32<W>) {
      store_weights(weights, w, count, whole);
    } else {
      const rng::Block random = rounding_words(u.seed, u.step, row, place);
#pragma unroll
      for (int i = 0; i < 4; ++i)
        if (i < count) weights[i] = round_stochastically(w[i], random.word[i]);
    }
#pragma unroll
    for (int i = 0; i < 2; ++i)
      if (exists(s.weight_state[i])) store_weights(elements<float>(s.weight_state[i]) + at, state[i], count, whole);
  }
};

/// One update of a bias.
SPARSEXMC_DEVICE void update_bias(const kernels::Segment& s, int64_t row, float g,
                                  const kernels::OptimizerStep& optimizer) {
  float slot[2] = {};
  for (int i = 0; i < 2; ++i)
    if (exists(s.bias_state[i])) slot[i] = elements<float>(s.bias_state[i])[row];
  float bias = s.bias[row];
  update_weight(bias, slot[0], slot[1], g, 0.0f, optimizer, exists(s.bias_state[0]));
  s.bias[row] = bias;
  for (int i = 0; i < 2; ++i)
    if (exists(s.bias_state[i])) elements<float>(s.bias_state[i])[row] = slot[i];
}

/// dW of a chunk, [chunk_features, Rows], in the shared memory of every block of the cluster.
template <int Rows>
struct StagedSum {
  using Staged = Tile<float, Rows>;
  Staged staged;
  int blocks, rank;

  /// Sum over the blocks, in the order of their ranks, of what each has at this place.
  SPARSEXMC_DEVICE float over_blocks(const float* place) const {
    float sum = 0.0f;
    for (int block = 0; block < blocks; ++block) sum += *remote(place, block);
    return sum;
  }
  SPARSEXMC_DEVICE void over_blocks(float (&sum)[4], const float* place) const {
    for (int block = 0; block < blocks; ++block) {
      const float4 part = *reinterpret_cast<const float4*>(remote(place, block));
      sum[0] += part.x, sum[1] += part.y, sum[2] += part.z, sum[3] += part.w;
    }
  }

 private:
  SPARSEXMC_DEVICE const float* remote(const float* place, int block) const {
    return blocks > 1 ? cluster_map(place, block) : place;
  }
};

/// Tiles of a group: fours of rows at one place, shared out over the blocks and their threads.
template <class W, int Rows>
class GroupUpdate {
 public:
  SPARSEXMC_DEVICE void fetch(const kernels::Segment& s, const UpdateArguments& u, const RowTile& tile,
                              int64_t first_feature, const Entries&, int rank, int blocks) {
    first_ = quads * rank / blocks;
    const int last = quads * (rank + 1) / blocks;
#pragma unroll
    for (int i = 0; i < per_thread; ++i) {
      const int quad = quad_of(i), row = quad % (Rows / 4) * 4;
      WeightQuad<W>& q = quads_[i];
      q.place = first_feature + quad / (Rows / 4);
      q.count = quad < last && q.place < s.fan_in ? tile.rows - row : 0;
      q.at = (tile.group * s.fan_in + q.place) * s.group_size + tile.offset + row;
      q.row = u.first_row + tile.first_row + row;
      q.load(s);
    }
  }

  SPARSEXMC_DEVICE void apply(const kernels::Segment& s, const UpdateArguments& u, const StagedSum<Rows>& sum) {
#pragma unroll
    for (int i = 0; i < per_thread; ++i) {
      if (quads_[i].count <= 0) continue;
      float g[4] = {};
      sum.over_blocks(g, sum.staged.at(quad_of(i) / (Rows / 4), quad_of(i) % (Rows / 4) * 4));
      quads_[i].update(s, g, u);
    }
  }

 private:
  static constexpr int quads = chunk_features * Rows / 4;
  static constexpr int per_thread = quads / block_threads;
  static_assert(quads % block_threads == 0);

  SPARSEXMC_DEVICE int quad_of(int i) const { return first_ + static_cast<int>(threadIdx.x) + i * block_threads; }

  int first_ = 0;
  WeightQuad<W> quads_[per_thread];
};

/// Tiles of labels: eight threads walk the entries of a label; each block takes those of its share of the features.
template <class W, int Rows>
class LabelUpdate {
 public:
  using Layout = LabelRows<W, W, Rows>;  // whose threads walk the same labels

  SPARSEXMC_DEVICE void fetch(const kernels::Segment& s, const UpdateArguments& u, const RowTile& tile,
                              int64_t first_feature, const Entries& entries, int rank, int blocks) {
    first_ = first_feature;
    low_ = chunk_features * rank / blocks;
    high_ = chunk_features * (rank + 1) / blocks;
    label_ = tile.first_row + Layout::row();
    entries_ = entries;
    read(s, u, entries.begin + Layout::slot());
  }

  SPARSEXMC_DEVICE void apply(const kernels::Segment& s, const UpdateArguments& u, const StagedSum<Rows>& sum) {
    for (int place = entries_.begin + Layout::slot(); place < entries_.end; place += Layout::threads_per_row) {
      if (place >= entries_.begin + Layout::threads_per_row) read(s, u, place);
      if (weight_.count == 0) continue;
      const float g[4] = {sum.over_blocks(sum.staged.at(feature_, Layout::row()))};
      weight_.update(s, g, u);
    }
  }

 private:
  SPARSEXMC_DEVICE void read(const kernels::Segment& s, const UpdateArguments& u, int place) {
    weight_.count = 0;
    if (place >= entries_.end) return;
    feature_ = static_cast<int>(feature_at(s, label_, place) - first_);
    weight_.count = feature_ >= low_ && feature_ < high_ ? 1 : 0;
    weight_.at = label_ * s.fan_in + place;
    weight_.row = u.first_row + label_;
    weight_.place = place;
    weight_.load(s);
  }

  int64_t first_ = 0, label_ = 0;
  int low_ = 0, high_ = 0, feature_ = 0;
  Entries entries_;
  WeightQuad<W> weight_;  // one of its four
};

}  // namespace sparsexmc::cuda

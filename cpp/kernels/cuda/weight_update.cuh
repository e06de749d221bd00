// dW of a chunk on its way into the weights: staged in shared memory, summed over the blocks of the cluster (each holds
// other instances) in the order of their ranks, and applied by all of them, each to its share of the chunk's features.
#pragma once

#include "chunk_loader.cuh"
#include "row_update.cuh"
#include "warp_product.cuh"

namespace sparsexmc::cuda {

/// The staged chunk. Order of calls for each chunk: stage(), then apply(), each by all threads of the cluster. The
/// cluster's barrier is split, so that the time between the calls hides its latency:
/// stage - arrive ... wait - apply - arrive ... wait - stage.
/// @tparam Owner GroupUpdate or LabelUpdate: which weights a thread updates
template <class Owner, int Rows>
class WeightUpdate {
 public:
  using Grid = WarpGrid<chunk_features, Rows>;
  static constexpr size_t bytes = StagedSum<Rows>::Staged::bytes(chunk_features) + sizeof(float) * Rows;

  SPARSEXMC_DEVICE WeightUpdate(unsigned char* shared, const kernels::Segment& s, const UpdateArguments& u, int blocks)
      : s_(s),
        u_(u),
        sum_{{reinterpret_cast<float*>(shared)}, blocks, blocks > 1 ? cluster_rank() : 0},
        row_sums_(reinterpret_cast<float*>(shared + StagedSum<Rows>::Staged::bytes(chunk_features))) {}

  /// Puts this warp's part of dW into the staging room; remembers where it belongs.
  /// @param with_bias this chunk brings the tile's biases along: bias_gradient(row)
  template <class BiasGradient>
  SPARSEXMC_DEVICE void stage(const float (&dw)[Grid::width][4], const RowTile& tile, int64_t first_feature,
                              const Entries& entries, bool with_bias, const BiasGradient& bias_gradient) {
    wait_until_free();
    if (with_bias && threadIdx.x < Rows) row_sums_[threadIdx.x] = bias_gradient(static_cast<int>(threadIdx.x));
    if (Grid::active())
#pragma unroll
      for (int n = 0; n < Grid::width; ++n)
#pragma unroll
        for (int half = 0; half < 2; ++half)
          *reinterpret_cast<float2*>(
              sum_.staged.at(Grid::row() + fragment_row(2 * half), Grid::column() + 8 * n + fragment_column(0))) =
              make_float2(dw[n][2 * half], dw[n][2 * half + 1]);
    tile_ = tile;
    with_bias_ = with_bias;
    pending_ = true;
    if (sum_.blocks > 1) cluster_arrive();
    owner_.fetch(s_, u_, tile, first_feature, entries, sum_.rank, sum_.blocks);  // apply() comes later: hides latency
  }

  /// Applies what was staged, if anything is. Within one block a barrier must lie between stage() and this.
  SPARSEXMC_DEVICE void apply() {
    if (!pending_) return;
    if (sum_.blocks > 1) cluster_wait();
    owner_.apply(s_, u_, sum_);
    const int row = static_cast<int>(threadIdx.x);
    if (with_bias_ && sum_.rank == 0 && row < tile_.rows)
      update_bias(s_, tile_.first_row + row, sum_.over_blocks(row_sums_ + row), u_.optimizer);
    pending_ = false;
    if (sum_.blocks > 1) cluster_arrive();
    applied_ = true;
  }

  /// Before the staging room may be overwritten, or the block may end: all blocks have applied the last chunk.
  SPARSEXMC_DEVICE void wait_until_free() {
    if (!applied_) return;
    if (sum_.blocks > 1)
      cluster_wait();
    else
      __syncthreads();
    applied_ = false;
  }

 private:
  const kernels::Segment& s_;
  const UpdateArguments& u_;
  StagedSum<Rows> sum_;
  float* row_sums_;
  Owner owner_;
  RowTile tile_;
  bool with_bias_ = false, pending_ = false, applied_ = false;
};

}  // namespace sparsexmc::cuda

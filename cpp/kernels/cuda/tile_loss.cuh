// From the logits of a tile, in the accumulators of the warps, to D = dloss/dlogit in shared memory.
#pragma once

#include <type_traits>

#include "arithmetic.cuh"
#include "element.cuh"
#include "positives.cuh"
#include "warp_product.cuh"

namespace sparsexmc::cuda {

/// Beside the logits, what the loss of a batch needs.
struct LossArguments {
  Loss loss;
  float scale;                    // of the slopes
  float logit_scale;              // of a normalised loss
  const float* instance_weights;  // [ldx], or null: 1
  const float* normaliser;        // [4, ldx], of a normalised loss
  int64_t ldx;
};

template <class T, int Rows, int Columns>
class TileLoss {
 public:
  using Grid = WarpGrid<Rows, Columns>;
  using Gradients = Tile<T, Columns>;  // [Rows, Columns]
  static constexpr size_t bytes = Gradients::bytes(Rows) + sizeof(float) * 8 * 16;

  SPARSEXMC_DEVICE TileLoss(unsigned char* shared, const LossArguments& arguments) : in_(arguments) {
    gradients_ = reinterpret_cast<T*>(shared);
    row_parts_ = reinterpret_cast<float*>(shared + Gradients::bytes(Rows));
  }

  SPARSEXMC_DEVICE Gradients gradients() const { return {gradients_}; }

  /// D of this warp's logits, and the loss. Rows that are no labels and columns from `columns` on become zero.
  /// @param positive_weights [rows of the segment]: factor on the loss of a positive; null: 1
  /// @param first_column of the tile in the batch
  SPARSEXMC_DEVICE void apply(const float (&z)[Grid::width][4], const float* bias,
                              const PositiveBits<Rows, Columns>& positives, const RowTile& tile, int columns,
                              const float* positive_weights, int64_t first_column) {
    if (!Grid::active()) return;
    float row_sum[2] = {};
    if (in_.normaliser != nullptr) {
      apply_normalised(z, bias, positives, tile, columns, positive_weights, in_.normaliser + first_column, row_sum);
    } else {
      const float* instance_weights = in_.instance_weights == nullptr ? nullptr : in_.instance_weights + first_column;
      if (instance_weights == nullptr)
        apply_plain(z, bias, positives, tile, columns, row_sum);
      else
        apply_weighted(z, bias, positives, tile, columns, instance_weights, row_sum);
      if (positive_weights != nullptr)
        weigh_positives(z, bias, positives, tile, columns, positive_weights, instance_weights, row_sum);
    }
    total_ += static_cast<double>(sum_.drain());
    // The four lanes of a row, then (in bias_gradient) the warps of a row, always in the same order.
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      row_sum[half] += __shfl_xor_sync(full_warp, row_sum[half], 1);
      row_sum[half] += __shfl_xor_sync(full_warp, row_sum[half], 2);
      if (lane() % 4 == 0) row_parts_[Grid::slot() * Rows + Grid::row() + fragment_row(2 * half)] = row_sum[half];
    }
  }

  /// Sum of a row's D, once all warps have passed a barrier after apply().
  SPARSEXMC_DEVICE float bias_gradient(int row) const {
    constexpr int slots = Grid::column_blocks / Grid::width;
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < slots; ++i) sum += row_parts_[i * Rows + row];
    return sum;
  }

  SPARSEXMC_DEVICE double loss() const { return total_; }

 private:
  using Math = std::conditional_t<is_fp32<T>, ExactMath, FastMath>;
  using LossSum = formulas::LossSum<Math>;

  /// scale * dloss/dz of a logit, with its loss into `sum`.
  SPARSEXMC_DEVICE float gradient(float z, bool positive, LossSum& sum) const {
    const losses::LogitLoss<Math> l = formulas::logit_loss<Math>(in_.loss, z, positive, in_.scale);
    sum.add(in_.loss, l);
    return l.slope;
  }

  SPARSEXMC_DEVICE void apply_plain(const float (&z)[Grid::width][4], const float* bias,
                                    const PositiveBits<Rows, Columns>& positives, const RowTile& tile, int columns,
                                    float (&row_sum)[2]) {
    const int valid = tile.valid;
    const Gradients to = gradients();
#pragma unroll
    for (int n = 0; n < Grid::width; ++n)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int row = Grid::row() + fragment_row(2 * half), column = Grid::column() + 8 * n + fragment_column(0);
        float d[2];
#pragma unroll
        for (int j = 0; j < 2; ++j) {
          const bool inside = row < valid && column + j < columns;
          d[j] = inside ? gradient(z[n][2 * half + j] + bias[row], positives.has(row, column + j), sum_) : 0.0f;
          row_sum[half] += d[j];
        }
        store_pair(to.at(row, column), d[0], d[1]);
      }
  }

  /// The same for instances with weights. A weight of 1 changes no bit of D; where it is 0, D is 0 whatever the logits.
  /// Passes of their own, this and the next, so that models without weights do not pay for them.
  SPARSEXMC_DEVICE void apply_weighted(const float (&z)[Grid::width][4], const float* bias,
                                       const PositiveBits<Rows, Columns>& positives, const RowTile& tile, int columns,
                                       const float* instance_weights, float (&row_sum)[2]) {
#pragma unroll
    for (int n = 0; n < Grid::width; ++n)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int row = Grid::row() + fragment_row(2 * half), column = Grid::column() + 8 * n + fragment_column(0);
        float d[2];
#pragma unroll
        for (int j = 0; j < 2; ++j) {
          const float weight = row < tile.valid && column + j < columns ? instance_weights[column + j] : 0.0f;
          d[j] = 0.0f;
          if (weight > 0.0f) {
            LossSum own;
            d[j] = weight * gradient(z[n][2 * half + j] + bias[row], positives.has(row, column + j), own);
            sum_.add_term(weight * own.drain());
          }
          row_sum[half] += d[j];
        }
        store_pair(gradients().at(row, column), d[0], d[1]);
      }
  }

  /// D of a normalised loss, whose normaliser has the weights of the instances. @param normaliser from the tile's first
  /// column on
  SPARSEXMC_DEVICE void apply_normalised(const float (&z)[Grid::width][4], const float* bias,
                                         const PositiveBits<Rows, Columns>& positives, const RowTile& tile, int columns,
                                         const float* positive_weights, const float* normaliser, float (&row_sum)[2]) {
    using Formula = losses::SoftmaxCrossEntropy;
    const float scale = in_.scale * in_.logit_scale;
#pragma unroll
    for (int n = 0; n < Grid::width; ++n) {
      const int column = Grid::column() + 8 * n + fragment_column(0);
      losses::InstanceNormaliser<float> of[2] = {};
#pragma unroll
      for (int j = 0; j < 2; ++j)
        if (column + j < columns)
          of[j] = {normaliser[column + j], normaliser[in_.ldx + column + j], normaliser[2 * in_.ldx + column + j],
                   normaliser[3 * in_.ldx + column + j]};
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int row = Grid::row() + fragment_row(2 * half);
        float d[2] = {};
#pragma unroll
        for (int j = 0; j < 2; ++j) {
          if (row >= tile.valid || column + j >= columns) continue;
          const float logit = in_.logit_scale * (z[n][2 * half + j] + bias[row]);
          const losses::LogitLoss<Math> l = Formula::of<Math>(logit, of[j], scale);
          sum_.add_term(l.term);
          d[j] = l.slope;
          if (positives.has(row, column + j))
            d[j] += Formula::positive_part(logit, of[j].maximum, of[j].target,
                                           positive_weights == nullptr ? 1.0f : positive_weights[tile.first_row + row],
                                           scale, total_);
          row_sum[half] += d[j];
        }
        store_pair(gradients().at(row, column), d[0], d[1]);
      }
    }
  }

  /// Gives the few positives their weights, in D, its row sums and the loss.
  SPARSEXMC_DEVICE void weigh_positives(const float (&z)[Grid::width][4], const float* bias,
                                        const PositiveBits<Rows, Columns>& positives, const RowTile& tile, int columns,
                                        const float* positive_weights, const float* instance_weights,
                                        float (&row_sum)[2]) {
#pragma unroll
    for (int n = 0; n < Grid::width; ++n)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int row = Grid::row() + fragment_row(i), column = Grid::column() + 8 * n + fragment_column(i);
        if (row >= tile.valid || column >= columns || !positives.has(row, column)) continue;
        const float of_instance = instance_weights == nullptr ? 1.0f : instance_weights[column];
        if (!(of_instance > 0.0f)) continue;
        LossSum own;
        const float d = of_instance * gradient(z[n][i] + bias[row], true, own);
        const float weight = positive_weights[tile.first_row + row];
        sum_.add_term((weight - 1.0f) * of_instance * own.drain());
        row_sum[i / 2] += (weight - 1.0f) * d;
        store(gradients().at(row, column), weight * d);
      }
  }

  static SPARSEXMC_DEVICE void store(bfloat16* to, float x) { *to = to_bfloat16(x); }
  static SPARSEXMC_DEVICE void store(float* to, float x) { *to = x; }
  static SPARSEXMC_DEVICE void store_pair(bfloat16* to, float a, float b) {
    *reinterpret_cast<uint32_t*>(to) = pack_bfloat16(a, b);
  }
  static SPARSEXMC_DEVICE void store_pair(float* to, float a, float b) {
    *reinterpret_cast<float2*>(to) = make_float2(a, b);
  }

  LossArguments in_;
  T* gradients_;
  float* row_parts_;
  LossSum sum_;
  double total_ = 0.0;
};

}  // namespace sparsexmc::cuda

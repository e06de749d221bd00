// The hidden layer over sparse rows. Memory-bound: feature rows of the weight are scattered over gigabytes, so many
// blocks with many reads under way each.
#pragma once

#include "activation.cuh"
#include "kernels.h"
#include "transpose.cuh"

namespace sparsexmc::cuda {

inline constexpr int sparse_threads = 256;  // at most; a thread has one unit

/// Row stride of rows_scratch.
SPARSEXMC_HD int64_t scratch_stride(int64_t units) { return round_up(units, 16); }

/// A launch with one block for every `sparse_threads` units of every item.
inline Launch by_item_and_units(int64_t items, int64_t units) {
  return {items * ceil_div(units, sparse_threads),
          static_cast<int>(smaller<int64_t>(sparse_threads, round_up(units, warp_size)))};
}
struct ItemAndUnit {
  int64_t item, unit;
};
SPARSEXMC_DEVICE ItemAndUnit item_and_unit(int64_t units) {
  const int64_t across = ceil_div(units, sparse_threads);
  return {blockIdx.x / across, blockIdx.x % across * sparse_threads + threadIdx.x};
}

/// Sums before the activation: an instance and a unit per thread, nonzeros in order.
static SPARSEXMC_KERNEL(sparse_threads, 4) sparse_hidden_sums_kernel(const kernels::SparseHiddenForward p) {
  const auto [instance, unit] = item_and_unit(p.units);
  if (unit >= p.units) return;
  float z = p.bias[unit];
  const int64_t end = p.indptr[instance + 1];
#pragma unroll 8
  for (int64_t i = p.indptr[instance]; i < end; ++i)
    z += p.values[i] * p.weight[static_cast<int64_t>(p.columns[i]) * p.units + unit];
  p.rows_scratch[instance * scratch_stride(p.units) + unit] = z;
}

template <class T>
SPARSEXMC_KERNEL(transpose_threads, 4)
sparse_hidden_activation_kernel(const kernels::SparseHiddenForward p) {
  const int64_t stride = scratch_stride(p.units);
  T* ht = static_cast<T*>(p.ht);
  transpose(
      p.ldx, p.units, [&](int64_t b, int64_t u) { return b < p.batch ? p.rows_scratch[b * stride + u] : 0.0f; },
      [&](int64_t b, int64_t u, float z) {
        ht[u * p.ldx + b] = from_float<T>(b < p.batch ? activate(z, u, b, p) : 0.0f);
      });
}

/// The gradient before the activation, from [units, ldx] to a row per instance.
static SPARSEXMC_KERNEL(transpose_threads, 4) sparse_hidden_rows_kernel(const kernels::SparseHiddenBackward p) {
  const int64_t stride = scratch_stride(p.units);
  transpose(
      p.units, p.batch, [&](int64_t u, int64_t b) { return p.dht[u * p.ldx + b]; },
      [&](int64_t u, int64_t b, float d) { p.rows_scratch[b * stride + u] = d; });
}

/// A touched feature and a unit per thread: the gradient of its weight, summed in the order of the instances, and the
/// update.
static SPARSEXMC_KERNEL(sparse_threads, 4) sparse_hidden_update_kernel(const kernels::SparseHiddenBackward p) {
  const auto [run, unit] = item_and_unit(p.units);
  if (unit >= p.units) return;
  const int64_t begin = p.runs[run], end = p.runs[run + 1], stride = scratch_stride(p.units);
  float g = 0.0f;
#pragma unroll 8
  for (int64_t i = begin; i < end; ++i) {
    const kernels::SparseEntry entry = p.entries[i];
    g += entry.value * p.rows_scratch[entry.instance * stride + unit];
  }
  update_at(p.weight, p.weight_state, static_cast<int64_t>(p.entries[begin].feature) * p.units + unit, g,
            p.optimizer.weight_decay, p.optimizer);
}

}  // namespace sparsexmc::cuda

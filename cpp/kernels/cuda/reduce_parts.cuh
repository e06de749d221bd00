// The parts of dX and of the loss, added in order.
#pragma once

#include "row_tiles.cuh"

namespace sparsexmc::cuda {

struct ReduceArguments {
  kernels::ReduceParts reduce;
  int64_t parts, losses;  // of the batch
};

/// By the 32 lanes of a warp, in an order that depends on `count` alone; lane 0 gets the sum.
SPARSEXMC_DEVICE double sum_losses(const double* parts, int64_t count) {
  double sum = 0.0;
  for (int64_t part = lane(); part < count; part += 32) sum += parts[part];
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) sum += __shfl_xor_sync(full_warp, sum, distance);
  return sum;
}

static SPARSEXMC_KERNEL(block_threads, 1) reduce_parts_kernel(const ReduceArguments a) {
  const kernels::ReduceParts& p = a.reduce;
  const bool skip = p.skip != nullptr && *p.skip != 0;
  const int64_t size = p.in_features * p.ldx;
  const int64_t i = static_cast<int64_t>(blockIdx.x) * block_threads + threadIdx.x;
  if (i < size) {
    float sum = 0.0f;
    if (!skip && i % p.ldx < p.batch)  // columns after the batch were written by nobody, or are zero
      for (int64_t part = 0; part < a.parts; ++part) sum += p.dx_parts[part * size + i];
    p.dx_parts[i] = sum;
  }
  if (blockIdx.x == 0 && threadIdx.x < 32) {
    const int64_t losses = skip ? 0 : a.losses;
    const double loss = sum_losses(p.loss_parts, losses);
    if (lane() == 0) *p.loss = loss + (p.loss_offset != nullptr && !skip ? *p.loss_offset : 0.0);
    if (p.auxiliary_loss == nullptr) return;
    const double auxiliary = sum_losses(p.auxiliary_parts, losses);
    if (lane() == 0) *p.auxiliary_loss = auxiliary;
  }
}

}  // namespace sparsexmc::cuda

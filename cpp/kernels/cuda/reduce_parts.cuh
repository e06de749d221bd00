// The parts of dX and of the loss, added in order.
#pragma once

#include "row_tiles.cuh"

namespace sparsexmc::cuda {

struct ReduceArguments {
  kernels::ReduceParts reduce;
  int64_t parts, losses;  // of the batch
};

SPARSEXMC_DEVICE double sum_losses(const double* parts, int64_t count) {
  double sum = 0.0;
  for (int64_t part = 0; part < count; ++part) sum += parts[part];
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
  if (i == 0) {
    const int64_t losses = skip ? 0 : a.losses;
    *p.loss = sum_losses(p.loss_parts, losses);
    if (p.auxiliary_loss != nullptr) *p.auxiliary_loss = sum_losses(p.auxiliary_parts, losses);
  }
}

}  // namespace sparsexmc::cuda

// The parts of dX and of the loss, added in order.
#pragma once

#include "row_tiles.cuh"

namespace sparsexmc::cuda {

struct ReduceArguments {
  float* dx_parts;  // [parts, in_features, ldx], the sum goes to the first
  double* loss;
  const double* loss_parts;
  int64_t parts, losses, in_features, ldx, batch;
  const uint32_t* skip;
};

static SPARSEXMC_KERNEL(block_threads, 1) reduce_parts_kernel(const ReduceArguments p) {
  const bool skip = p.skip != nullptr && *p.skip != 0;
  const int64_t size = p.in_features * p.ldx;
  const int64_t i = static_cast<int64_t>(blockIdx.x) * block_threads + threadIdx.x;
  if (i < size) {
    float sum = 0.0f;
    if (!skip && i % p.ldx < p.batch)  // columns behind the batch were written by nobody, or are zero
      for (int64_t part = 0; part < p.parts; ++part) sum += p.dx_parts[part * size + i];
    p.dx_parts[i] = sum;
  }
  if (i == 0) {
    double loss = 0.0;
    for (int64_t part = 0; !skip && part < p.losses; ++part) loss += p.loss_parts[part];
    *p.loss = loss;
  }
}

}  // namespace sparsexmc::cuda

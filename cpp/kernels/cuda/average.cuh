// Running averages of weights: one thread per few elements, each a stride of the block apart, so that loads coalesce.
#pragma once

#include "arithmetic.cuh"
#include "element.cuh"
#include "kernels.h"

namespace sparsexmc::cuda {

inline constexpr int average_threads = 256, average_per_thread = 4;

/// body(element) for the elements of this thread.
template <class Body>
SPARSEXMC_DEVICE void for_own_elements(int64_t count, Body&& body) {
  const int64_t first = static_cast<int64_t>(blockIdx.x) * average_per_thread * average_threads + threadIdx.x;
#pragma unroll
  for (int i = 0; i < average_per_thread; ++i)
    if (const int64_t at = first + i * average_threads; at < count) body(at);
}

template <class W>
SPARSEXMC_KERNEL(average_threads, 1)
average_step_kernel(const kernels::AverageStep p) {
  if (p.skip != nullptr && *p.skip != 0) return;
  const W* weights = elements<const W>(p.weights);
  for_own_elements(p.count, [&](int64_t at) {
    const float weight = to_float(weights[at]);
    float average = weight;
    if (p.rate != 1.0f) {
      average = p.average[at];
      formulas::running_average<ExactMath>(average, weight, p.rate);
    }
    p.average[at] = average;
  });
}

template <class W>
SPARSEXMC_KERNEL(average_threads, 1)
store_average_kernel(const kernels::StoreAverage p) {
  W* weights = elements<W>(p.weights);
  for_own_elements(p.count, [&](int64_t at) { weights[at] = from_float<W>(p.average[at]); });
}

}  // namespace sparsexmc::cuda

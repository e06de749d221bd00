// Embeddings in and embedding gradients out: casts, and the transposition between [batch, H] and [H, ldx].
#pragma once

#include "element.cuh"
#include "kernels.h"
#include "transpose.cuh"

namespace sparsexmc::cuda {

/// T: what the products read. E: dtype of the embeddings. A value that only becomes infinite in T counts as such.
template <class T, class E>
SPARSEXMC_KERNEL(transpose_threads, 4)
gather_columns_kernel(const kernels::GatherColumns p) {
  const E* x = static_cast<const E*>(p.x);
  T* xt = static_cast<T*>(p.xt);
  bool nonfinite = false;
  transpose(
      p.ldx, p.features,
      [&](int64_t b, int64_t h) {
        if (b >= p.batch) return 0.0f;
        const float value = to_float(from_float<T>(to_float(x[b * p.features + h]) * p.scale));
        nonfinite |= (__float_as_uint(value) & 0x7F800000u) == 0x7F800000u;
        return value;
      },
      [&](int64_t b, int64_t h, float value) { xt[h * p.ldx + b] = from_float<T>(value); });
  if (nonfinite) atomicOr(p.nonfinite, 1u);
}

template <class E>
SPARSEXMC_KERNEL(transpose_threads, 4)
scatter_columns_kernel(const kernels::ScatterColumns p) {
  E* x = static_cast<E*>(p.x);
  const bool skip = p.skip != nullptr && *p.skip != 0;
  transpose(
      p.features, p.batch, [&](int64_t h, int64_t b) { return skip ? 0.0f : p.xt[h * p.ldx + b] * p.scale; },
      [&](int64_t h, int64_t b, float value) { x[b * p.features + h] = from_float<E>(value); });
}

}  // namespace sparsexmc::cuda

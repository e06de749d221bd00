// The dense hidden layer: its three products, each with what follows it fused to it.
#pragma once

#include "activation.cuh"
#include "block_product.cuh"
#include "kernels.h"

namespace sparsexmc::cuda {

/// T, here and below: what the products read.
template <class T>
SPARSEXMC_KERNEL(block_threads, 2)
hidden_forward_kernel(const kernels::HiddenForward p) {
  const ProductTile at = product_tile_of(p.ldx);
  const Matrix<float> weight{p.weight, p.features, p.units, p.units};
  const Matrix<T> xt{static_cast<const T*>(p.xt), p.features, p.ldx, p.ldx};
  ProductSums sums = {};
  block_product<T, Stored::transposed, Stored::plain>(sums, weight, xt, p.features, at);
  T* ht = static_cast<T*>(p.ht);
  for_each_sum(sums, at, [&](int64_t u, int64_t b, float z) {
    if (u < p.units) ht[u * p.ldx + b] = from_float<T>(b < p.batch ? activate(z + p.bias[u], u, b, p) : 0.0f);
  });
}

/// The part after the product alone, in place: ht holds the sums.
static SPARSEXMC_KERNEL(block_threads, 1) hidden_activation_kernel(const kernels::HiddenForward p) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * block_threads + threadIdx.x;
  if (i >= p.units * p.ldx) return;
  const int64_t u = i / p.ldx, b = i % p.ldx;
  float* z = static_cast<float*>(p.ht) + i;
  *z = b < p.batch ? activate(*z + p.bias[u], u, b, p) : 0.0f;
}

/// dX with the weights from before the update; dht is the gradient before ReLU and dropout by now.
template <class T>
SPARSEXMC_KERNEL(block_threads, 2)
hidden_input_gradient_kernel(const kernels::HiddenBackward p) {
  if (p.skip != nullptr && *p.skip != 0) return;
  const ProductTile at = product_tile_of(p.ldx);
  const Matrix<float> weight{p.weight, p.features, p.units, p.units}, dht{p.dht, p.units, p.ldx, p.ldx};
  ProductSums sums = {};
  block_product<T, Stored::plain, Stored::plain>(sums, weight, dht, p.units, at);
  for_each_sum(sums, at, [&](int64_t d, int64_t b, float dx) {
    if (d < p.features) p.dxt[d * p.ldx + b] = b < p.batch ? dx : 0.0f;
  });
}

/// dW over the whole batch, and the update of the weights.
template <class T>
SPARSEXMC_KERNEL(block_threads, 2)
hidden_update_kernel(const kernels::HiddenBackward p) {
  if (p.skip != nullptr && *p.skip != 0) return;
  const ProductTile at = product_tile_of(p.units);
  const Matrix<T> xt{static_cast<const T*>(p.xt), p.features, p.ldx, p.ldx};
  const Matrix<float> dht{p.dht, p.units, p.ldx, p.ldx};
  ProductSums sums = {};
  block_product<T, Stored::plain, Stored::transposed>(sums, xt, dht, p.ldx, at);
  for_each_sum(sums, at, [&](int64_t d, int64_t u, float dw) {
    if (d < p.features && u < p.units)
      update_at(p.weight, p.weight_state, d * p.units + u, dw, p.optimizer.weight_decay, p.optimizer);
  });
}

}  // namespace sparsexmc::cuda

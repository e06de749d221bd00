// ReLU and inverted dropout of the hidden layer and their way back; shared by the dense and the sparse layer.
#pragma once

#include "element.cuh"
#include "rng.h"
#include "update_at.cuh"

namespace sparsexmc::cuda {

/// dropout(relu(z)) of one unit and instance.
/// @param p HiddenForward or SparseHiddenForward: dropout, seed, step
template <class Params>
SPARSEXMC_DEVICE float activate(float z, int64_t unit, int64_t instance, const Params& p) {
  const float value = 0.0f > z ? 0.0f : z;  // NaN stays
  if (p.dropout <= 0.0f) return value;
  const uint32_t word = rng::draw_one(p.seed, rng::Purpose::dropout, p.step, static_cast<uint64_t>(instance),
                                      static_cast<uint64_t>(unit));
  return rng::uniform(word) >= p.dropout ? value * (1.0f / (1.0f - p.dropout)) : 0.0f;
}

struct ActivationGradientArguments {
  float* dht;  // [units, ldx], overwritten by the gradient before ReLU and dropout
  float* bias;
  StoredTensor bias_state[2];
  const void* ht;  // [units, ldx]; an active, kept unit is one with ht > 0, and no padding column is
  int64_t units, ldx;
  float dropout;
  kernels::OptimizerStep optimizer;
  const uint32_t* skip;
};

inline constexpr int activation_threads = 256;

/// A warp per unit, which also updates the unit's bias with the sum over the batch.
template <class T>
SPARSEXMC_KERNEL(activation_threads, 4)
activation_gradient_kernel(const ActivationGradientArguments p) {
  if (p.skip != nullptr && *p.skip != 0) return;
  const int64_t unit = static_cast<int64_t>(blockIdx.x) * (activation_threads / warp_size) + warp();
  if (unit >= p.units) return;
  const T* ht = static_cast<const T*>(p.ht) + unit * p.ldx;
  float* dht = p.dht + unit * p.ldx;
  const float scale = 1.0f / (1.0f - p.dropout);
  float total = 0.0f;
  for (int64_t b = lane(); b < p.ldx; b += warp_size) {
    const float d = to_float(ht[b]) > 0.0f ? dht[b] * scale : 0.0f;
    dht[b] = d;
    total += d;
  }
  total = warp_sum(total);
  if (lane() == 0 && p.bias != nullptr) update_at(p.bias, p.bias_state, unit, total, 0.0f, p.optimizer);
}

/// @param p HiddenBackward or SparseHiddenBackward
template <class Params>
void launch_activation_gradient(cudaStream_t stream, const Params& p, const uint32_t* skip) {
  const ActivationGradientArguments a{
      p.dht, p.bias, {p.bias_state[0], p.bias_state[1]}, p.ht, p.units, p.ldx, p.dropout, p.optimizer, skip};
  visit_compute(p.compute, [&]<class T>(T) {
    launch(stream, Launch{ceil_div(p.units, activation_threads / warp_size), activation_threads},
           &activation_gradient_kernel<T>, a, "activation_gradient_kernel");
  });
}

}  // namespace sparsexmc::cuda

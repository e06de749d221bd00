// The vocabulary of kernels. The same source builds with nvcc for a GPU, or with a C++ compiler under
// SPARSEXMC_CUDA_SHIM, where the threads of a block run as fibers on the host (tests/shim): tests without a GPU run the
// very kernels.
#pragma once

#include <cstdint>

#if defined(SPARSEXMC_CUDA_SHIM)
#include "host_shim.h"
#define SPARSEXMC_DEVICE inline
#define SPARSEXMC_KERNEL(threads, min_blocks) void
#else
#include <cuda_runtime.h>
#define SPARSEXMC_DEVICE __device__ __forceinline__
/// Before the name of a kernel: the largest block, and how many blocks a multiprocessor should hold at least.
#define SPARSEXMC_KERNEL(threads, min_blocks) __global__ void __launch_bounds__(threads, min_blocks)
#endif

#include "async_copy.h"
#include "bfloat16.h"
#include "cluster.h"
#include "integers.h"
#include "launch.h"
#include "warp_matrix.h"

namespace sparsexmc::cuda {

inline constexpr uint32_t full_warp = 0xFFFFFFFFu;
inline constexpr int warp_size = 32;

SPARSEXMC_DEVICE int lane() { return static_cast<int>(threadIdx.x % 32); }
SPARSEXMC_DEVICE int warp() { return static_cast<int>(threadIdx.x / 32); }

/// The block's dynamic shared memory (Launch::shared bytes, 16-byte aligned): the only kind that kernels use.
SPARSEXMC_DEVICE unsigned char* shared_memory() {
#if defined(SPARSEXMC_CUDA_SHIM)
  return shim::block_shared();
#else
  extern __shared__ uint4 sparsexmc_shared_memory[];
  return reinterpret_cast<unsigned char*>(sparsexmc_shared_memory);
#endif
}

/// e^x, about 2 ulp (more where |x| is large); results below 2^-126 become zero on the GPU.
SPARSEXMC_DEVICE float fast_exp(float x) {
#if defined(SPARSEXMC_CUDA_SHIM)
  return expf(x);
#else
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x * 1.4426950408889634f));
  return y;
#endif
}

/// 1 / x, about 1 ulp.
SPARSEXMC_DEVICE float fast_reciprocal(float x) {
#if defined(SPARSEXMC_CUDA_SHIM)
  return 1.0f / x;
#else
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#endif
}

/// Sum over the lanes of a full warp, in a fixed order; every lane gets it.
template <class T>
SPARSEXMC_DEVICE T warp_sum(T value) {
  for (int distance = 16; distance > 0; distance /= 2) value += __shfl_xor_sync(full_warp, value, distance);
  return value;
}

/// Sum over the block, in a fixed order; every thread gets it. Blocks of whole warps; scratch: shared memory for one
/// double per warp, free before the call and after it.
SPARSEXMC_DEVICE double block_sum(double value, double* scratch) {
  value = warp_sum(value);
  if (lane() == 0) scratch[warp()] = value;
  __syncthreads();
  double sum = 0;
  for (unsigned w = 0; w < blockDim.x / 32; ++w) sum += scratch[w];
  __syncthreads();
  return sum;
}

}  // namespace sparsexmc::cuda

// Part of device_compat.h. Clusters: blocks that run at the same time and read each other's shared memory (sm_90 and
// later). Elsewhere a cluster is one block, and arrive and wait do nothing: a kernel that runs with a cluster of one
// calls __syncthreads itself.
#pragma once

#include <cstdint>

namespace sparsexmc::cuda {

/// Number of this block in its cluster.
SPARSEXMC_DEVICE int cluster_rank() {
#if defined(SPARSEXMC_CUDA_SHIM)
  return static_cast<int>(shim::cluster_rank());
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  uint32_t rank;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return static_cast<int>(rank);
#else
  return 0;
#endif
}

/// Every thread of the cluster arrives, then waits for all: what one wrote before it arrived, the others read after
/// they waited. A block must not end while others may still read its shared memory.
SPARSEXMC_DEVICE void cluster_arrive() {
#if defined(SPARSEXMC_CUDA_SHIM)
  shim::cluster_arrive();
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.arrive.release;" ::: "memory");
#endif
}

SPARSEXMC_DEVICE void cluster_wait() {
#if defined(SPARSEXMC_CUDA_SHIM)
  shim::cluster_wait();
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.wait.acquire;" ::: "memory");
#endif
}

/// The address of the same place in the shared memory of block `rank` of the cluster, for plain loads and stores.
template <class T>
SPARSEXMC_DEVICE T* cluster_map(T* shared, [[maybe_unused]] int rank) {
#if defined(SPARSEXMC_CUDA_SHIM)
  return static_cast<T*>(
      shim::cluster_map(const_cast<void*>(static_cast<const void*>(shared)), static_cast<unsigned>(rank)));
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  uint64_t mapped;
  asm("mapa.u64 %0, %1, %2;" : "=l"(mapped) : "l"(reinterpret_cast<uint64_t>(shared)), "r"(rank));
  return reinterpret_cast<T*>(mapped);
#else
  return shared;
#endif
}

}  // namespace sparsexmc::cuda

// The resources that a card offers to a block, and how many clusters of such blocks run at once.
#pragma once

#include <cstdlib>
#include <map>
#include <mutex>

#include "device_compat.h"
#include "device_memory.h"
#include "runtime.h"

namespace sparsexmc::cuda {

struct ProbeArguments {
  int threads;
};
/// Never launched: the question is how many of its clusters fit, each block with all the shared memory.
static SPARSEXMC_KERNEL(256, 1) probe_kernel(const ProbeArguments) {}

inline int attribute(cudaDeviceAttr which, int device) {
  int value = 0;
  SPARSEXMC_CUDA_CHECK(cudaDeviceGetAttribute(&value, which, device));
  return value;
}

/// Clusters of `size` blocks that run at once; 0 if the current device cannot have them.
inline int64_t active_clusters(const kernels::Machine& machine, int size) {
#if defined(SPARSEXMC_CUDA_SHIM)
  (void)probe_kernel;
  const char* largest = std::getenv("SPARSEXMC_SHIM_CLUSTER");
  return size <= (largest != nullptr ? std::atoi(largest) : 8) ? machine.workers / size : 0;
#else
  cudaLaunchAttribute cluster;
  cluster.id = cudaLaunchAttributeClusterDimension;
  cluster.val.clusterDim = {static_cast<unsigned>(size), 1, 1};
  cudaLaunchConfig_t config{};
  config.gridDim = {static_cast<unsigned>(size), 1, 1};
  config.blockDim = {256, 1, 1};
  config.dynamicSmemBytes = static_cast<size_t>(machine.shared_bytes);
  config.attrs = &cluster;
  config.numAttrs = 1;
  int clusters = 0;
  const bool known =
      cudaFuncSetAttribute(probe_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                           static_cast<int>(machine.shared_bytes)) == cudaSuccess &&
      cudaFuncSetAttribute(probe_kernel, cudaFuncAttributeNonPortableClusterSizeAllowed, 1) == cudaSuccess &&
      cudaOccupancyMaxActiveClusters(&clusters, probe_kernel, &config) == cudaSuccess;
  if (!known) cudaGetLastError();  // a size that the card does not have
  return known ? clusters : 0;
#endif
}

inline kernels::Machine probe_machine(int device) {
  const CurrentDevice current(device);
  kernels::Machine machine;
  machine.workers = attribute(cudaDevAttrMultiProcessorCount, device);
  machine.shared_bytes = attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
  machine.clusters[0] = machine.workers;
  if (attribute(cudaDevAttrClusterLaunch, device) != 0)
    for (int i = 1; i < 5; ++i) machine.clusters[i] = active_clusters(machine, 1 << i);
  return machine;
}

/// Asked for at every step, so it is remembered; the shim's card may change between two calls.
inline kernels::Machine find_machine(int device) {
#if defined(SPARSEXMC_CUDA_SHIM)
  return probe_machine(device);
#else
  static std::mutex mutex;
  static std::map<int, kernels::Machine> known;
  const std::lock_guard lock(mutex);
  const auto found = known.find(device);
  return found != known.end() ? found->second : known.emplace(device, probe_machine(device)).first->second;
#endif
}

}  // namespace sparsexmc::cuda

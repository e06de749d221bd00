// Part of device_compat.h, for the host: checked calls of the CUDA runtime and checked launches.
#pragma once

#include <cstdint>
#include <mutex>
#include <set>
#include <string>
#include <type_traits>
#include <utility>

#include "sparsexmc/error.h"

/// Runs a call of the CUDA runtime. @throws DeviceError with the statement, the place and the reason.
#define SPARSEXMC_CUDA_CHECK(...) ::sparsexmc::cuda::check((__VA_ARGS__), #__VA_ARGS__, __FILE__, __LINE__)

namespace sparsexmc::cuda {

/// Names the error and makes the runtime forget it, so that the next checked call does not report it again.
[[noreturn]] inline void throw_device_error(const std::string& what, cudaError_t error) {
  cudaGetLastError();
  throw DeviceError(what + ": " + cudaGetErrorString(error) + " (" + cudaGetErrorName(error) + ")");
}

inline void check(cudaError_t error, const char* statement, const char* file, int line) {
  if (error == cudaSuccess) return;
  const std::string path = file;
  const std::string place = path.substr(path.find_last_of('/') + 1) + ":" + std::to_string(line);
  throw_device_error(place + ": " + statement, error);
}

/// The shape of a launch. Blocks are one-dimensional.
struct Launch {
  int64_t grid;       // blocks along x; none: nothing is launched
  int threads;        // of a block
  size_t shared = 0;  // bytes of dynamic shared memory
  int cluster = 1;    // blocks (along x) of a cluster
  int64_t grid_y = 1;
};

/// Lets a kernel have all the shared memory that a block of the current device can get, and clusters of any size. Once
/// per kernel and device, and to the maximum: an attribute that followed each launch would race between threads whose
/// models have other widths.
template <class P>
cudaError_t allow_large_blocks(void (*kernel)(P)) {
  static std::mutex mutex;
  static std::set<std::pair<void (*)(P), int>> allowed;
  int device = 0, most = 0, clusters = 0;
  if (const cudaError_t error = cudaGetDevice(&device); error != cudaSuccess) return error;
  const std::lock_guard lock(mutex);
  if (allowed.count({kernel, device}) != 0) return cudaSuccess;
  cudaFuncAttributes attributes{};
  cudaError_t error = cudaFuncGetAttributes(&attributes, kernel);
  if (error == cudaSuccess) error = cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
  most -= static_cast<int>(attributes.sharedSizeBytes);  // what the kernel has of its own
  if (error == cudaSuccess) error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, most);
  if (error == cudaSuccess) error = cudaDeviceGetAttribute(&clusters, cudaDevAttrClusterLaunch, device);
  if (error == cudaSuccess && clusters != 0)
    error = cudaFuncSetAttribute(kernel, cudaFuncAttributeNonPortableClusterSizeAllowed, 1);
  if (error == cudaSuccess) allowed.insert({kernel, device});
  return error;
}

/// Starts a kernel, which takes all its parameters in one struct. @throws DeviceError that names the kernel.
template <class P>
void launch(cudaStream_t stream, const Launch& l, void (*kernel)(P), const P& p, const char* name) {
  static_assert(std::is_trivially_copyable_v<P> && sizeof(P) <= 4096, "parameters are copied to the device as bytes");
  constexpr size_t shared_without_asking = 48 << 10;
  constexpr int portable_cluster = 8;
  if (l.grid == 0 || l.grid_y == 0) return;
  const std::string what = std::string("launch of ") + name;
  const auto checked = [&](cudaError_t error) {
    if (error != cudaSuccess) throw_device_error(what, error);
  };
  if (l.grid < 0 || l.grid > INT32_MAX || l.grid_y < 0 || l.grid_y > 65535) {
    throw DeviceError(what + ": a grid of " + std::to_string(l.grid) + " x " + std::to_string(l.grid_y) + " blocks");
  }
  if (l.shared > shared_without_asking || l.cluster > portable_cluster) checked(allow_large_blocks(kernel));
  cudaLaunchAttribute cluster;
  cluster.id = cudaLaunchAttributeClusterDimension;
  cluster.val.clusterDim = {static_cast<unsigned>(l.cluster), 1, 1};
  cudaLaunchConfig_t config{};
  config.gridDim = {static_cast<unsigned>(l.grid), static_cast<unsigned>(l.grid_y), 1};
  config.blockDim = {static_cast<unsigned>(l.threads), 1, 1};
  config.dynamicSmemBytes = l.shared;
  config.stream = stream;
  config.attrs = &cluster;
  config.numAttrs = l.cluster > 1 ? 1 : 0;  // none on cards from before clusters
#if defined(SPARSEXMC_CUDA_SHIM)
  shim::name_next_launch(name);
#endif
  checked(cudaLaunchKernelEx(&config, kernel, p));
}

}  // namespace sparsexmc::cuda

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>
#include <stdexcept>
#include <utility>

#include "machine.h"
#include "runtime_state.h"

namespace {

using sparsexmc::shim::report;
using sparsexmc::shim::setting;

thread_local const char* next_name = nullptr;
std::atomic<int64_t> launches = 0, attributes_set = 0;

/// The resources that a kernel may have on a device.
struct Allowance {
  int64_t shared = 48 << 10;
  int64_t cluster = 8;
};

int64_t shared_limit() { return setting("SPARSEXMC_SHIM_SHARED", 232448); }

Allowance& allowance(void (*kernel)()) {  // under `mutex`
  static std::map<std::pair<void (*)(), int>, Allowance> allowances;
  int device = 0;
  cudaGetDevice(&device);
  return allowances[{kernel, device}];
}
std::mutex mutex;

/// The number of the launch that is to fail; 0: none.
std::atomic<int64_t>& failing_launch() {
  static std::atomic<int64_t> number = setting("SPARSEXMC_SHIM_FAIL_LAUNCH", 0);
  return number;
}

}  // namespace

namespace sparsexmc::shim {

void name_next_launch(const char* name) { next_name = name; }

cudaError_t set_attribute(void (*kernel)(), cudaFuncAttribute attribute, int value) {
  const std::lock_guard lock(mutex);
  ++attributes_set;
  Allowance& allowed = allowance(kernel);
  if (attribute == cudaFuncAttributeNonPortableClusterSizeAllowed) {
    allowed.cluster = value != 0 ? max_cluster : 8;
    return cudaSuccess;
  }
  const int64_t most = shared_limit();
  if (value < 0 || value > most) return report(cudaErrorInvalidValue);
  allowed.shared = value == most ? INT64_MAX : value;  // the card's maximum, also where a test then changes the card
  return cudaSuccess;
}

cudaError_t check_and_run(const cudaLaunchConfig_t& config, void (*kernel)(), void (*body)(const void*),
                          const void* parameters) {
  const char* name = next_name ? next_name : "(unnamed)";
  next_name = nullptr;
  Grid grid{config.gridDim.x, config.gridDim.y, config.blockDim.x, config.dynamicSmemBytes, 1};
  for (unsigned a = 0; a < config.numAttrs; ++a) {
    if (config.attrs[a].id == cudaLaunchAttributeClusterDimension) grid.cluster = config.attrs[a].val.clusterDim.x;
  }
  Allowance allowed;
  {
    const std::lock_guard lock(mutex);
    allowed = allowance(kernel);
  }
  const bool one_dimensional = config.blockDim.y == 1 && config.blockDim.z == 1 && config.gridDim.z == 1;
  if (!one_dimensional || grid.threads == 0 || grid.threads > max_threads || grid.blocks_y > 65535 ||
      grid.cluster == 0 || grid.cluster > allowed.cluster || grid.cluster > setting("SPARSEXMC_SHIM_CLUSTER", 8) ||
      grid.blocks_x % grid.cluster != 0) {
    return report(cudaErrorInvalidConfiguration);
  }
  if (static_cast<int64_t>(grid.shared) > std::min(allowed.shared, shared_limit()))
    return report(cudaErrorInvalidValue);
  if (++launches == failing_launch()) return report(cudaErrorLaunchFailure);
  run_grid(grid, body, parameters, name);
  return cudaSuccess;
}

}  // namespace sparsexmc::shim

void sparsexmc_shim_fail_launch(int64_t n) { failing_launch() = n > 0 ? launches + n : 0; }
int64_t sparsexmc_shim_launches() { return launches; }
int64_t sparsexmc_shim_attributes_set() { return attributes_set; }
bool sparsexmc_shim_set_order(const char* order) {
  try {
    sparsexmc::shim::set_order(sparsexmc::shim::parse_order(order));
    return true;
  } catch (const std::exception&) {
    return false;
  }
}

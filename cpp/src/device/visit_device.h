// The one switch on the device.
#pragma once

#include <utility>

#include "kernels.h"

namespace sparsexmc {

/// Calls body(kernels::Cpu{}) or body(kernels::Cuda{}).
template <class Body>
decltype(auto) visit_device(Device device, Body&& body) {
#if defined(SPARSEXMC_HAVE_CUDA)
  if (device.kind == DeviceKind::cuda) return std::forward<Body>(body)(kernels::Cuda{});
#else
  (void)device;  // Device::parse lets no other kind through in this build
#endif
  return std::forward<Body>(body)(kernels::Cpu{});
}

}  // namespace sparsexmc

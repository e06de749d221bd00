// Makes a device the calling thread's current one for the length of a scope.
#pragma once

#include "device/visit_device.h"

namespace sparsexmc {

class DeviceGuard {
 public:
  /// @throws DeviceError if the device has failed
  explicit DeviceGuard(Device device)
      : device_(device),
        previous_(visit_device(device, [&](auto tag) { return kernels::enter_device(tag, device); })) {}
  ~DeviceGuard() {
    visit_device(device_, [&](auto tag) { kernels::leave_device(tag, previous_); });
  }
  DeviceGuard(const DeviceGuard&) = delete;
  DeviceGuard& operator=(const DeviceGuard&) = delete;

 private:
  Device device_;
  int previous_;
};

}  // namespace sparsexmc

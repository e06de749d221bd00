// The spelling of devices, apart from whether this machine has them.
#pragma once

#include <optional>
#include <string>

#include "sparsexmc/device.h"

namespace sparsexmc {

/// The device that "cpu", "cuda" or "cuda:<index>" stands for; none for "auto". Touches no driver.
/// @throws ArgumentError for anything else
std::optional<Device> parse_device_name(const std::string& name);

}  // namespace sparsexmc

// Shared by the files of the pretended runtime. Internal to tests/shim.
#pragma once

#include <cstdint>

#include "runtime_api.h"

namespace sparsexmc::shim {

/// A number from the environment, or its default.
int64_t setting(const char* name, int64_t otherwise);

/// Remembers an error as this OS thread's last one, and hands it on.
cudaError_t report(cudaError_t error);

}  // namespace sparsexmc::shim

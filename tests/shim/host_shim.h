// Stands in for CUDA where there is none: device_compat.h includes this instead of cuda_runtime.h, and the kernels run
// as plain C++ on the calling thread (machine.h), with the runtime API of a pretended card (runtime_api.h).
// It cannot show: speed, occupancy, bank conflicts, what streams overlap, and weak memory order between blocks (only
// TSan sees those races).
#pragma once

#include "intrinsics.h"
#include "runtime_api.h"
#include "warp_matrix_shim.h"

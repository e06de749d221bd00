// Which of the configuration's dtypes a device takes.
#pragma once

#include "sparsexmc/config.h"

namespace sparsexmc {

/// The dtype that the products of a model read on `device`: compute_dtype, or the device's own choice.
/// @throws ArgumentError if the device cannot take compute_dtype or weight_dtype
DType choose_compute_dtype(const ClassifierConfig& config, Device device);

/// The dtype in which the matrices of a batch are stored: the CPU's kernels round to bfloat16 themselves, where they
/// need it.
DType choose_stored_dtype(DType compute, Device device);

}  // namespace sparsexmc

// Tensors in and out of memory: to the host they are row-major and without padding, whatever lies in memory.
#pragma once

#include "layers/buffers.h"
#include "layers/tensor_spec.h"

namespace sparsexmc {

/// Can an array of `dtype` take the tensor, or give it? Its own dtype does; weights convert between float32 and
/// bfloat16. @throws ArgumentError naming the tensor
void check_host_dtype(const TensorSpec& spec, DType dtype);

/// Copies a tensor out. @param dtype of `out`, which check_host_dtype() accepts
void read_tensor(Context& context, const Buffers& buffers, const TensorSpec& spec, void* out, DType dtype);

/// Replaces a tensor, except for the order of the labels, which LabelOrder keeps. float32 weights become bfloat16 by
/// rounding to nearest. @throws ArgumentError for numbers that the tensor must not hold; it is unchanged
void write_tensor(Context& context, const Buffers& buffers, const TensorSpec& spec, const void* data, DType dtype);

}  // namespace sparsexmc

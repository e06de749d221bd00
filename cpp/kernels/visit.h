// From what is known at run time to a type: the switches on dtype and width of the indices. (That on the loss is in
// losses.h.)
#pragma once

#include "float16.h"
#include "kernels.h"

// Also where the host calls them in its loops: files compiled for different instruction sets must not share a copy.
#define SPARSEXMC_VISIT inline __attribute__((always_inline))

namespace sparsexmc {

/// Calls body(T{}) with the type of what products read and weights are stored as: float or bfloat16.
template <class Body>
SPARSEXMC_VISIT void visit_compute(DType dtype, Body&& body) {
  if (dtype == DType::bfloat16)
    body(bfloat16{});
  else
    body(float{});
}

/// The same for the dtypes of embeddings.
template <class Body>
SPARSEXMC_VISIT void visit_embedding(DType dtype, Body&& body) {
  if (dtype == DType::float16)
    body(float16{});
  else
    visit_compute(dtype, body);
}

/// Calls body(pointer) with the features of a group, uint32_t or uint16_t. Not for a dense segment.
template <class Body>
SPARSEXMC_VISIT void visit_indices(const kernels::Segment& s, int64_t group, Body&& body) {
  if (s.wide_indices)
    body(static_cast<uint32_t*>(s.indices) + group * s.fan_in);
  else
    body(static_cast<uint16_t*>(s.indices) + group * s.fan_in);
}

}  // namespace sparsexmc

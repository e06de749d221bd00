// Tensor-core operations on the host: m16n8k16 products of bf16 fragments and the loads that make these fragments.
#pragma once

#include <cstdint>

namespace sparsexmc::shim {

/// ldmatrix of `count` (2 or 4) 8 x 8 matrices of 16-bit elements; `row` is this lane's row (lanes >= 8 count:
/// ignored).
void load_matrices(uint32_t* registers, int count, bool transposed, const void* row);

/// c += a b, accumulated in fp32 in the order of k.
void multiply_bf16(float* c, const uint32_t* a, const uint32_t* b);

}  // namespace sparsexmc::shim

// Part of device_compat.h. Matrix products of one warp on tensor cores: mma.sync m16n8k16 on bf16, and the loads of its
// fragments from shared memory. All 32 lanes call together. With g = lane / 4 and t = lane % 4, lane holds
//   a (16 x 16): a[0] row g, columns 2t, 2t+1; a[1] row g+8; a[2], a[3] the same rows, columns 2t+8, 2t+9
//   b (16 x 8):  b[0] rows 2t, 2t+1 of column g; b[1] rows 2t+8, 2t+9
//   c (16 x 8):  c[0], c[1] row g, columns 2t, 2t+1; c[2], c[3] row g+8
// (PTX ISA, "Matrix fragments for mma.m16n8k16 with floating point type"). The lower half of a register comes first.
#pragma once

#include <cstdint>

namespace sparsexmc::cuda {

/// Loads four (two) 8 x 8 matrices of 16-bit elements: lane l gives the address of row l % 8 of matrix l / 8, 16-byte
/// aligned in shared memory, and gets elements 2t, 2t+1 of row g of matrix j in r[j]. _trans: of column g.
SPARSEXMC_DEVICE void ldmatrix_x4(uint32_t (&r)[4], const void* row) {
#if defined(SPARSEXMC_CUDA_SHIM)
  shim::load_matrices(r, 4, false, row);
#else
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(static_cast<uint32_t>(__cvta_generic_to_shared(row)))
               : "memory");
#endif
}

SPARSEXMC_DEVICE void ldmatrix_x4_trans(uint32_t (&r)[4], const void* row) {
#if defined(SPARSEXMC_CUDA_SHIM)
  shim::load_matrices(r, 4, true, row);
#else
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(static_cast<uint32_t>(__cvta_generic_to_shared(row)))
               : "memory");
#endif
}

SPARSEXMC_DEVICE void ldmatrix_x2(uint32_t (&r)[2], const void* row) {
#if defined(SPARSEXMC_CUDA_SHIM)
  shim::load_matrices(r, 2, false, row);
#else
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(static_cast<uint32_t>(__cvta_generic_to_shared(row)))
               : "memory");
#endif
}

SPARSEXMC_DEVICE void ldmatrix_x2_trans(uint32_t (&r)[2], const void* row) {
#if defined(SPARSEXMC_CUDA_SHIM)
  shim::load_matrices(r, 2, true, row);
#else
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(static_cast<uint32_t>(__cvta_generic_to_shared(row)))
               : "memory");
#endif
}

/// c += a b with fp32 sums.
SPARSEXMC_DEVICE void mma_bf16(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#if defined(SPARSEXMC_CUDA_SHIM)
  shim::multiply_bf16(c, a, b);
#else
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

}  // namespace sparsexmc::cuda

// bfloat16 from and to fp32 in the GPU's own instructions. Own type, so that host code needs no header of the toolkit.
#pragma once

#include <cstdint>

#include "float16.h"

namespace sparsexmc::cuda {

SPARSEXMC_HD float to_float(bfloat16 x) {
#if defined(__CUDA_ARCH__)
  return __uint_as_float(uint32_t{x.bits} << 16);
#else
  return from_bfloat16(x.bits);
#endif
}

/// Rounds to the nearest, ties to even. Every NaN becomes 0x7FFF, as the hardware has it.
SPARSEXMC_HD bfloat16 to_bfloat16(float x) {
#if defined(__CUDA_ARCH__)
  bfloat16 y;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
  return y;
#else
  if (x != x) return {0x7FFF};
  return {static_cast<uint16_t>(nearest_bfloat16(float_bits(x)) >> 16)};
#endif
}

/// Two of them in one register, as fragments and packed stores want it.
SPARSEXMC_HD uint32_t pack_bfloat16(float low, float high) {
#if defined(__CUDA_ARCH__)
  uint32_t packed;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
#else
  return to_bfloat16(low).bits | uint32_t{to_bfloat16(high).bits} << 16;
#endif
}

}  // namespace sparsexmc::cuda

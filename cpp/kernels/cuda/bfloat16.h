// bfloat16: the upper half of an fp32. Own type, so that host code needs no header of the CUDA toolkit.
#pragma once

#include <cstdint>
#include <cstring>

#include "scalar.h"

namespace sparsexmc::cuda {

struct bfloat16 {
  uint16_t bits;
};

SPARSEXMC_HD float to_float(bfloat16 x) {
  const uint32_t bits = uint32_t{x.bits} << 16;
#if defined(__CUDA_ARCH__)
  return __uint_as_float(bits);
#else
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
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
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof(bits));
  return {static_cast<uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16)};
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

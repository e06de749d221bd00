// float16 (IEEE 754 binary16) and bfloat16 to and from fp32, in integer arithmetic: the same bits on every device.
#pragma once

#include "integers.h"

namespace sparsexmc {

SPARSEXMC_HD uint32_t float_bits(float x) {
  uint32_t u;
  __builtin_memcpy(&u, &x, sizeof u);
  return u;
}
SPARSEXMC_HD float bits_float(uint32_t u) {
  float x;
  __builtin_memcpy(&x, &u, sizeof x);
  return x;
}

/// Elements as they are stored.
struct bfloat16 {  // NOLINT(readability-identifier-naming): as the dtype is called
  uint16_t bits;   // the upper half of an fp32
};
struct float16 {  // NOLINT(readability-identifier-naming): as the dtype is called
  uint16_t bits;
};

SPARSEXMC_HD float from_bfloat16(uint16_t h) { return bits_float(uint32_t{h} << 16); }

/// The bits of fp32 numbers that are not NaN, rounded to nearest even: the upper half is the bfloat16.
/// @tparam Bits uint32_t, or a vector of int32_t
template <class Bits>
SPARSEXMC_HD Bits nearest_bfloat16(Bits u) {
  return u + (0x7FFF + ((u >> 16) & 1));
}

/// Rounds to nearest even; NaN stays NaN.
SPARSEXMC_HD uint16_t to_bfloat16(float x) {
  const uint32_t u = float_bits(x);
  if ((u & 0x7FFFFFFFu) > 0x7F800000u) return static_cast<uint16_t>(u >> 16 | 0x40u);
  return static_cast<uint16_t>(nearest_bfloat16(u) >> 16);
}

/// The same for stochastic rounding of finite numbers: to one of the two neighbours, with probabilities that keep the
/// mean. 16 random bits, added below the last kept one, carry into it just that often.
SPARSEXMC_HD uint32_t stochastic_bfloat16(uint32_t u, uint32_t random) { return u + (random & 0xFFFFu); }

SPARSEXMC_HD float from_float16(uint16_t h) {
  const uint32_t sign = uint32_t{h} >> 15 << 31, magnitude = h & 0x7FFFu;
  if (magnitude >= 0x7C00u) return bits_float(sign | 0x7F800000u | (magnitude & 0x3FFu) << 13);
  // 2^112 moves the exponent bias from 15 to 127 and makes subnormals normal, exactly.
  return bits_float(sign | float_bits(bits_float(magnitude << 13) * 0x1p112f));
}

/// Rounds to nearest even, overflows to infinity; NaN stays NaN.
SPARSEXMC_HD uint16_t to_float16(float x) {
  const uint32_t u = float_bits(x), sign = u >> 16 & 0x8000u, magnitude = u & 0x7FFFFFFFu;
  if (magnitude > 0x7F800000u) return static_cast<uint16_t>(sign | 0x7E00u);
  if (magnitude >= 0x477FF000u) return static_cast<uint16_t>(sign | 0x7C00u);  // 65520 and above
  if (magnitude < 0x38800000u) {  // subnormal half: adding 0.5 puts its last bit at the last bit of the sum
    return static_cast<uint16_t>(sign | (float_bits(bits_float(magnitude) + 0.5f) - float_bits(0.5f)));
  }
  return static_cast<uint16_t>(sign | (magnitude - (112u << 23) + 0xFFFu + (magnitude >> 13 & 1u)) >> 13);
}

}  // namespace sparsexmc

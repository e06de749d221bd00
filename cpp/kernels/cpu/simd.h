// Portable vectors on the compilers' vector extension. Included only by files compiled once per instruction set; all of
// it lives in a namespace named after that set, so that no inline function is shared between sets.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX__)
#include <immintrin.h>
#elif defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "integers.h"

#define SPARSEXMC_INLINE inline __attribute__((always_inline))

namespace sparsexmc::cpu::SPARSEXMC_ISA {

#if defined(__AVX512F__)
inline constexpr int width = 16;
#elif defined(__AVX2__)
inline constexpr int width = 8;
#else
inline constexpr int width = 4;
#endif

using Vec = float __attribute__((vector_size(width * 4)));
using VecI = int32_t __attribute__((vector_size(width * 4)));

SPARSEXMC_INLINE Vec load(const float* p) {
  Vec v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
SPARSEXMC_INLINE void store(float* p, Vec v) { std::memcpy(p, &v, sizeof v); }
SPARSEXMC_INLINE Vec broadcast(float x) { return x - Vec{}; }
SPARSEXMC_INLINE VecI broadcast_int(int32_t x) { return x - VecI{}; }
/// The larger of each lane, b where one is NaN (compilers make a comparison and a blend of the plain expression).
SPARSEXMC_INLINE Vec max(Vec a, Vec b) {
#if defined(__AVX512F__)
  return reinterpret_cast<Vec>(_mm512_maskz_max_ps(0xFFFF, reinterpret_cast<__m512>(a), reinterpret_cast<__m512>(b)));
#elif defined(__AVX2__)
  return reinterpret_cast<Vec>(_mm256_max_ps(reinterpret_cast<__m256>(a), reinterpret_cast<__m256>(b)));
#elif defined(__SSE2__)
  return reinterpret_cast<Vec>(_mm_max_ps(reinterpret_cast<__m128>(a), reinterpret_cast<__m128>(b)));
#else
  return a > b ? a : b;
#endif
}
SPARSEXMC_INLINE VecI bits(Vec v) { return reinterpret_cast<VecI>(v); }
SPARSEXMC_INLINE Vec from_bits(VecI v) { return reinterpret_cast<Vec>(v); }
/// -|v|
SPARSEXMC_INLINE Vec negative_abs(Vec v) { return from_bits(bits(v) | static_cast<int32_t>(0x80000000u)); }
/// Lanes 0, 1, 2, ...
SPARSEXMC_INLINE VecI iota() {
  VecI v;
  for (int i = 0; i < width; ++i) v[i] = i;
  return v;
}
/// Lanes below n are true (all ones).
SPARSEXMC_INLINE VecI first_lanes(int64_t n) {
  return iota() < broadcast_int(static_cast<int32_t>(n < width ? n : width));
}
SPARSEXMC_INLINE bool any(VecI mask) {
#if defined(__AVX512F__)
  return _mm512_movepi32_mask(reinterpret_cast<__m512i>(mask)) != 0;
#elif defined(__AVX2__)
  return _mm256_movemask_ps(reinterpret_cast<__m256>(mask)) != 0;
#elif defined(__SSE2__)
  return _mm_movemask_ps(reinterpret_cast<__m128>(mask)) != 0;
#else
  int32_t all = 0;
  for (int i = 0; i < width; ++i) all |= mask[i];
  return all != 0;
#endif
}

/// Whether a lane of a is not below that of b, which holds for NaN in either. One comparison: GCC makes three
/// instructions of any(~(a < b)).
SPARSEXMC_INLINE bool any_not_below(Vec a, Vec b) {
#if defined(__AVX512F__)
  return _mm512_cmp_ps_mask(reinterpret_cast<__m512>(a), reinterpret_cast<__m512>(b), _CMP_NLT_UQ) != 0;
#elif defined(__AVX2__)
  return _mm256_movemask_ps(_mm256_cmp_ps(reinterpret_cast<__m256>(a), reinterpret_cast<__m256>(b), _CMP_NLT_UQ)) != 0;
#elif defined(__SSE2__)
  return _mm_movemask_ps(_mm_cmpnlt_ps(reinterpret_cast<__m128>(a), reinterpret_cast<__m128>(b))) != 0;
#else
  return any(~(a < b));
#endif
}

/// Perfect shuffle of two vectors: a0 b0 a1 b1 ..., its lower and its upper half.
SPARSEXMC_INLINE Vec interleave_low(Vec a, Vec b) {
#if defined(__AVX512F__)
  return __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
#elif defined(__AVX2__)
  return __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
#else
  return __builtin_shufflevector(a, b, 0, 4, 1, 5);
#endif
}
SPARSEXMC_INLINE Vec interleave_high(Vec a, Vec b) {
#if defined(__AVX512F__)
  return __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
#elif defined(__AVX2__)
  return __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
#else
  return __builtin_shufflevector(a, b, 2, 6, 3, 7);
#endif
}

/// out lane i = sum of the lanes of rows[i]: a tree that halves the number of vectors at each level.
SPARSEXMC_INLINE Vec sum_rows(Vec (&rows)[width]) {
#pragma GCC unroll 4
  for (int count = width / 2; count > 0; count /= 2)
#pragma GCC unroll 8
    for (int i = 0; i < count; ++i)
      rows[i] = interleave_low(rows[i], rows[i + count]) + interleave_high(rows[i], rows[i + count]);
  return rows[0];
}

/// Sum of the lanes by halving: a fixed tree.
SPARSEXMC_INLINE float sum(Vec v) {
#if defined(__AVX512F__)
  v = v + __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7);
  v = v + __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3);
  v = v + __builtin_shufflevector(v, v, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1);
#elif defined(__AVX2__)
  v = v + __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3);
  v = v + __builtin_shufflevector(v, v, 2, 3, 0, 1, 2, 3, 0, 1);
#else
  v = v + __builtin_shufflevector(v, v, 2, 3, 0, 1);
#endif
  return v[0] + v[1];
}

/// 1 / x to about 1 ulp for normal x: hardware estimate and Newton steps, which beat the divider's throughput.
SPARSEXMC_INLINE Vec reciprocal(Vec x) {
#if defined(__AVX512F__)
  Vec r = reinterpret_cast<Vec>(_mm512_maskz_rcp14_ps(0xFFFF, reinterpret_cast<__m512>(x)));
  const Vec e = 1.0f - x * r;
  return r + r * e;
#elif defined(__AVX2__)
  Vec r = reinterpret_cast<Vec>(_mm256_rcp_ps(reinterpret_cast<__m256>(x)));
  const Vec e = 1.0f - x * r;
  return r + r * (e + e * e);
#else
  return 1.0f / x;
#endif
}

/// sqrt of each lane, correctly rounded.
SPARSEXMC_INLINE Vec square_root(Vec v) {
#if defined(__AVX512F__)
  return reinterpret_cast<Vec>(_mm512_maskz_sqrt_ps(0xFFFF, reinterpret_cast<__m512>(v)));
#elif defined(__AVX2__)
  return reinterpret_cast<Vec>(_mm256_sqrt_ps(reinterpret_cast<__m256>(v)));
#else
  for (int i = 0; i < width; ++i) v[i] = __builtin_sqrtf(v[i]);
  return v;
#endif
}

/// exp(x) for x <= 0, relative error below 3e-7; results below the normal range become the smallest normal number.
/// Degree 5 minimax polynomial on [-ln 2 / 2, ln 2 / 2], fitted for this purpose.
template <bool keeps_nan = false>
SPARSEXMC_INLINE Vec exp_nonpositive(Vec x) {
  const Vec least = broadcast(-87.0f);
  x = keeps_nan ? max(least, x) : max(x, least);
  const Vec magic = broadcast(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer in the low bits
  const Vec t = x * 1.44269504f + magic;
  const Vec n = t - magic;
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
  const Vec r = x - n * 0.693147182f;  // the fused product is exact, and n * (ln 2 - 0.693147182) stays below 3e-7
#else
  const Vec r = (x - n * 0.693359375f) - n * -2.12194440e-4f;  // Cody-Waite: ln 2 in two parts
#endif
  Vec p = broadcast(0.0082903066650033f);
  p = p * r + 0.0418979749083519f;
  p = p * r + 0.1666763722896576f;
  p = p * r + 0.4999915063381195f;
  p = p * r + 0.9999997019767761f;
  p = p * r + 1.0f;
#if defined(__AVX512F__)
  return reinterpret_cast<Vec>(
      _mm512_maskz_scalef_ps(0xFFFF, reinterpret_cast<__m512>(p), reinterpret_cast<__m512>(n)));
#else
  return from_bits(bits(p) + (bits(t) << 23));  // the low bits of magic are zero, so the shift leaves n
#endif
}

/// log(1 + q) for 0 <= q < 2^100, relative error below 3e-7 also for tiny q.
SPARSEXMC_INLINE Vec log1p_nonnegative(Vec q) {
  const Vec u = 1.0f + q;
  const Vec lost = (q - (u - 1.0f)) * reciprocal(u);  // what rounding 1 + q dropped, to first order
  VecI exponent = (bits(u) - 0x3F3504F3) >> 23;       // u = m 2^exponent with m in [sqrt(1/2), sqrt(2))
  const Vec m = from_bits(bits(u) - (exponent << 23)) - 1.0f;
  Vec p = broadcast(7.0376836292e-2f);
  p = p * m - 1.1514610310e-1f;
  p = p * m + 1.1676998740e-1f;
  p = p * m - 1.2420140846e-1f;
  p = p * m + 1.4249322787e-1f;
  p = p * m - 1.6668057665e-1f;
  p = p * m + 2.0000714765e-1f;
  p = p * m - 2.4999993993e-1f;
  p = p * m + 3.3333331174e-1f;
  const Vec m2 = m * m;
  Vec y = p * m * m2;
  const Vec e = __builtin_convertvector(exponent, Vec);
  y = y + e * -2.12194440e-4f;
  y = y - 0.5f * m2;
  return (m + y) + (e * 0.693359375f + lost);
}

/// The arithmetic of formulas.h on vectors.
struct VectorMath {
  using Number = Vec;

  static SPARSEXMC_INLINE Vec larger(Vec a, Vec b) { return max(a, b); }
  static SPARSEXMC_INLINE Vec negative_abs(Vec x) { return SPARSEXMC_ISA::negative_abs(x); }
  static SPARSEXMC_INLINE Vec exp_nonpositive(Vec x) { return SPARSEXMC_ISA::exp_nonpositive(x); }
  static SPARSEXMC_INLINE Vec reciprocal(Vec x) { return SPARSEXMC_ISA::reciprocal(x); }
  static SPARSEXMC_INLINE Vec square_root(Vec x) { return SPARSEXMC_ISA::square_root(x); }
  static SPARSEXMC_INLINE Vec log1p_nonnegative(Vec x) { return SPARSEXMC_ISA::log1p_nonnegative(x); }
  static SPARSEXMC_INLINE float sum(Vec x) { return SPARSEXMC_ISA::sum(x); }
};

/// The same for single numbers, and the exponential of any number.
struct ScalarMath {
  using Number = float;

  static SPARSEXMC_INLINE float larger(float a, float b) { return a > b ? a : b; }
  static SPARSEXMC_INLINE float exp(float x) { return __builtin_expf(x); }
  static SPARSEXMC_INLINE float log1p_nonnegative(float x) { return __builtin_log1pf(x); }
};

/// Transposes a width x width block: out[i] lane j = in[j] lane i. A perfect shuffle repeated log2(width) times.
SPARSEXMC_INLINE void transpose(Vec (&rows)[width]) {
#pragma GCC unroll 4
  for (int stage = 1; stage < width; stage *= 2) {
    Vec next[width];
#pragma GCC unroll 16
    for (int i = 0; i < width / 2; ++i) {
      next[2 * i] = interleave_low(rows[i], rows[i + width / 2]);
      next[2 * i + 1] = interleave_high(rows[i], rows[i + width / 2]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < width; ++i) rows[i] = next[i];
  }
}

}  // namespace sparsexmc::cpu::SPARSEXMC_ISA

// Embeddings in and embedding gradients out: casts, and the transposition between [batch, H] and [H, ldx].
#include "simd.h"
#include "table.h"

namespace sparsexmc::cpu::SPARSEXMC_ISA {

using namespace kernels;

namespace {

constexpr int64_t block_columns = 256;  // features per work item

SPARSEXMC_INLINE uint32_t float_bits(float x) {
  uint32_t u;
  __builtin_memcpy(&u, &x, sizeof u);
  return u;
}
SPARSEXMC_INLINE float bits_float(uint32_t u) {
  float x;
  __builtin_memcpy(&x, &u, sizeof x);
  return x;
}

SPARSEXMC_INLINE float from_bfloat16(uint16_t h) { return bits_float(uint32_t{h} << 16); }

/// Rounds to nearest even; NaN stays NaN.
SPARSEXMC_INLINE uint16_t to_bfloat16(float x) {
  const uint32_t u = float_bits(x);
  if ((u & 0x7FFFFFFFu) > 0x7F800000u) return static_cast<uint16_t>(u >> 16 | 0x40u);
  return static_cast<uint16_t>((u + 0x7FFFu + (u >> 16 & 1u)) >> 16);
}

SPARSEXMC_INLINE float from_float16(uint16_t h) {
  const uint32_t sign = uint32_t{h} >> 15 << 31, magnitude = h & 0x7FFFu;
  if (magnitude >= 0x7C00u) return bits_float(sign | 0x7F800000u | (magnitude & 0x3FFu) << 13);
  // 2^112 moves the exponent bias from 15 to 127 and makes subnormals normal, exactly.
  return bits_float(sign | float_bits(bits_float(magnitude << 13) * 0x1p112f));
}

/// Rounds to nearest even, overflows to infinity; NaN stays NaN.
SPARSEXMC_INLINE uint16_t to_float16(float x) {
  const uint32_t u = float_bits(x), sign = u >> 16 & 0x8000u, magnitude = u & 0x7FFFFFFFu;
  if (magnitude > 0x7F800000u) return static_cast<uint16_t>(sign | 0x7E00u);
  if (magnitude >= 0x477FF000u) return static_cast<uint16_t>(sign | 0x7C00u);  // 65520 and above
  if (magnitude < 0x38800000u) {  // subnormal half: adding 0.5 puts its last bit at the last bit of the sum
    return static_cast<uint16_t>(sign | (float_bits(bits_float(magnitude) + 0.5f) - float_bits(0.5f)));
  }
  return static_cast<uint16_t>(sign | (magnitude - (112u << 23) + 0xFFFu + (magnitude >> 13 & 1u)) >> 13);
}

template <DType dtype>
SPARSEXMC_INLINE float read(const void* x, int64_t i) {
  if constexpr (dtype == DType::float32)
    return static_cast<const float*>(x)[i];
  else if constexpr (dtype == DType::bfloat16)
    return from_bfloat16(static_cast<const uint16_t*>(x)[i]);
  else
    return from_float16(static_cast<const uint16_t*>(x)[i]);
}

template <DType dtype>
SPARSEXMC_INLINE void write(void* x, int64_t i, float value) {
  if constexpr (dtype == DType::float32)
    static_cast<float*>(x)[i] = value;
  else if constexpr (dtype == DType::bfloat16)
    static_cast<uint16_t*>(x)[i] = to_bfloat16(value);
  else
    static_cast<uint16_t*>(x)[i] = to_float16(value);
}

/// Features [first, last): width x width blocks through registers.
template <DType dtype>
void gather_block(const GatherColumns& p, int64_t first, int64_t last) {
  VecI bad = {};
  for (int64_t b = 0; b < p.ldx; b += width)
    for (int64_t h = first; h < last; h += width) {
      const int64_t instances = larger<int64_t>(0, smaller<int64_t>(width, p.batch - b));
      const int64_t features = smaller<int64_t>(width, last - h);
      Vec rows[width] = {};
      if (dtype == DType::float32 && instances == width && features == width) {
#pragma GCC unroll 16
        for (int i = 0; i < width; ++i) rows[i] = load(static_cast<const float*>(p.x) + (b + i) * p.features + h);
      } else {
        for (int64_t i = 0; i < instances; ++i)
          for (int64_t j = 0; j < features; ++j) rows[i][j] = read<dtype>(p.x, (b + i) * p.features + h + j);
      }
#pragma GCC unroll 16
      for (int i = 0; i < width; ++i) bad |= (bits(rows[i]) & 0x7F800000) == 0x7F800000;
      transpose(rows);
      if (features == width) {
#pragma GCC unroll 16
        for (int i = 0; i < width; ++i) store(p.xt + (h + i) * p.ldx + b, rows[i]);
      } else {
        for (int64_t i = 0; i < features; ++i) store(p.xt + (h + i) * p.ldx + b, rows[i]);
      }
    }
  if (any(bad)) __atomic_store_n(p.nonfinite, true, __ATOMIC_RELAXED);
}

template <DType dtype>
void scatter_block(const ScatterColumns& p, int64_t first, int64_t last) {
  for (int64_t b = 0; b < p.batch; b += width)
    for (int64_t h = first; h < last; h += width) {
      const int64_t instances = smaller<int64_t>(width, p.batch - b), features = smaller<int64_t>(width, last - h);
      Vec rows[width] = {};
      for (int64_t i = 0; i < features; ++i) rows[i] = load(p.xt + (h + i) * p.ldx + b);
      transpose(rows);
      for (int64_t i = 0; i < instances; ++i) {
        if (dtype == DType::float32 && features == width) {
          store(static_cast<float*>(p.x) + (b + i) * p.features + h, rows[i]);
        } else {
          for (int64_t j = 0; j < features; ++j) write<dtype>(p.x, (b + i) * p.features + h + j, rows[i][j]);
        }
      }
    }
}

}  // namespace

void gather_columns(ThreadPool& threads, const GatherColumns& p) {
  parallel_for(threads, ceil_div(p.features, block_columns), [&](int64_t item, int) {
    const int64_t first = item * block_columns, last = smaller(first + block_columns, p.features);
    if (p.dtype == DType::float32)
      gather_block<DType::float32>(p, first, last);
    else if (p.dtype == DType::bfloat16)
      gather_block<DType::bfloat16>(p, first, last);
    else
      gather_block<DType::float16>(p, first, last);
  });
}

void scatter_columns(ThreadPool& threads, const ScatterColumns& p) {
  parallel_for(threads, ceil_div(p.features, block_columns), [&](int64_t item, int) {
    const int64_t first = item * block_columns, last = smaller(first + block_columns, p.features);
    if (p.dtype == DType::float32)
      scatter_block<DType::float32>(p, first, last);
    else if (p.dtype == DType::bfloat16)
      scatter_block<DType::bfloat16>(p, first, last);
    else
      scatter_block<DType::float16>(p, first, last);
  });
}

}  // namespace sparsexmc::cpu::SPARSEXMC_ISA

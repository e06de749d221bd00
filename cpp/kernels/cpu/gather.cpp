// Embeddings in and embedding gradients out: casts, and the transposition between [batch, H] and [H, ldx].
#include "float16.h"
#include "fp32.h"
#include "simd.h"
#include "table.h"

namespace sparsexmc::cpu::SPARSEXMC_ISA {

using namespace kernels;

namespace {

constexpr int64_t block_columns = 256;  // features per work item

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
  float* xt = fp32(p.xt);
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
      for (int i = 0; i < width; ++i) {
        rows[i] *= p.scale;
        bad |= (bits(rows[i]) & 0x7F800000) == 0x7F800000;
      }
      transpose(rows);
      if (features == width) {
#pragma GCC unroll 16
        for (int i = 0; i < width; ++i) store(xt + (h + i) * p.ldx + b, rows[i]);
      } else {
        for (int64_t i = 0; i < features; ++i) store(xt + (h + i) * p.ldx + b, rows[i]);
      }
    }
  if (any(bad)) __atomic_store_n(p.nonfinite, 1u, __ATOMIC_RELAXED);
}

template <DType dtype>
void scatter_block(const ScatterColumns& p, int64_t first, int64_t last) {
  for (int64_t b = 0; b < p.batch; b += width)
    for (int64_t h = first; h < last; h += width) {
      const int64_t instances = smaller<int64_t>(width, p.batch - b), features = smaller<int64_t>(width, last - h);
      Vec rows[width] = {};
      for (int64_t i = 0; i < features; ++i) rows[i] = load(p.xt + (h + i) * p.ldx + b) * p.scale;
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

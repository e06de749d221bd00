// Embeddings in and embedding gradients out: casts, and the transposition between [batch, H] and [H, ldx].
#include "fp32.h"
#include "simd.h"
#include "table.h"
#include "visit.h"

namespace sparsexmc::cpu::SPARSEXMC_ISA {

using namespace kernels;

namespace {

constexpr int64_t block_columns = 256;  // features per work item

SPARSEXMC_INLINE float value_of(float x) { return x; }
SPARSEXMC_INLINE float value_of(bfloat16 x) { return from_bfloat16(x.bits); }
SPARSEXMC_INLINE float value_of(float16 x) { return from_float16(x.bits); }

/// Rounds to nearest even.
SPARSEXMC_INLINE void set(float& to, float value) { to = value; }
SPARSEXMC_INLINE void set(bfloat16& to, float value) { to = {to_bfloat16(value)}; }
SPARSEXMC_INLINE void set(float16& to, float value) { to = {to_float16(value)}; }

/// Features [first, last): width x width blocks through registers.
template <class E>
void gather_block(const GatherColumns& p, int64_t first, int64_t last) {
  const E* x = static_cast<const E*>(p.x);
  float* xt = fp32(p.xt);
  VecI bad = {};
  for (int64_t b = 0; b < p.ldx; b += width)
    for (int64_t h = first; h < last; h += width) {
      const int64_t instances = larger<int64_t>(0, smaller<int64_t>(width, p.batch - b));
      const int64_t features = smaller<int64_t>(width, last - h);
      Vec rows[width] = {};
      if (std::is_same_v<E, float> && instances == width && features == width) {
#pragma GCC unroll 16
        for (int i = 0; i < width; ++i) rows[i] = load(static_cast<const float*>(p.x) + (b + i) * p.features + h);
      } else {
        for (int64_t i = 0; i < instances; ++i)
          for (int64_t j = 0; j < features; ++j) rows[i][j] = value_of(x[(b + i) * p.features + h + j]);
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

template <class E>
void scatter_block(const ScatterColumns& p, int64_t first, int64_t last) {
  E* x = static_cast<E*>(p.x);
  for (int64_t b = 0; b < p.batch; b += width)
    for (int64_t h = first; h < last; h += width) {
      const int64_t instances = smaller<int64_t>(width, p.batch - b), features = smaller<int64_t>(width, last - h);
      Vec rows[width] = {};
      for (int64_t i = 0; i < features; ++i) rows[i] = load(p.xt + (h + i) * p.ldx + b) * p.scale;
      transpose(rows);
      for (int64_t i = 0; i < instances; ++i) {
        if (std::is_same_v<E, float> && features == width) {
          store(static_cast<float*>(p.x) + (b + i) * p.features + h, rows[i]);
        } else {
          for (int64_t j = 0; j < features; ++j) set(x[(b + i) * p.features + h + j], rows[i][j]);
        }
      }
    }
}

}  // namespace

void gather_columns(ThreadPool& threads, const GatherColumns& p) {
  parallel_for(threads, ceil_div(p.features, block_columns), [&](int64_t item, int) {
    const int64_t first = item * block_columns, last = smaller(first + block_columns, p.features);
    visit_embedding(p.dtype, [&]<class E>(E) { gather_block<E>(p, first, last); });
  });
}

void scatter_columns(ThreadPool& threads, const ScatterColumns& p) {
  parallel_for(threads, ceil_div(p.features, block_columns), [&](int64_t item, int) {
    const int64_t first = item * block_columns, last = smaller(first + block_columns, p.features);
    visit_embedding(p.dtype, [&]<class E>(E) { scatter_block<E>(p, first, last); });
  });
}

}  // namespace sparsexmc::cpu::SPARSEXMC_ISA

// Products of bf16 panels with fp32 sums: on the matrix units (AMX) where the instruction set has them, otherwise in
// the same order of additions, so that both give the same bits.
//
// A product of two bf16 numbers is exact in fp32. Within a block of 32 the even and the odd elements are summed apart,
// and their two sums are added to the total: what TDPBF16PS does.
#pragma once

#include "bf16_tiles.h"

namespace sparsexmc::cpu::SPARSEXMC_ISA {

#if defined(__AMX_BF16__)

/// Makes sure that earlier stores are in memory: the compilers' intrinsics do not say that they read it.
SPARSEXMC_INLINE void stored(const void* p) { asm volatile("" : : "r"(p) : "memory"); }

/// The matrix unit, configured for whole tiles while this lives.
class MatrixUnit {
 public:
  MatrixUnit() {
    struct alignas(64) {
      uint8_t palette = 1, start_row = 0, reserved[14] = {};
      uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
      uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
    } config;
    stored(&config);
    _tile_loadconfig(&config);
  }
  ~MatrixUnit() { _tile_release(); }
  MatrixUnit(const MatrixUnit&) = delete;
  MatrixUnit& operator=(const MatrixUnit&) = delete;
};

/// C[16 R, 16 N] (+)= A B: `a` and `b` are R and N rows of tiles, `lda` and `ldb` elements apart.
template <int R, int N>
SPARSEXMC_INLINE void multiply_tiles(float* c, int64_t ldc, bool add, const Bf16* a, int64_t lda, const Bf16* b,
                                     int64_t ldb, int64_t depth) {
  const auto stride = static_cast<size_t>(ldc) * sizeof(float);
  float* c1 = c + 16 * ldc;
  stored(a);
  if (add) {
    _tile_loadd(0, c, stride);
    if constexpr (N == 2) _tile_loadd(1, c + 16, stride);
    if constexpr (R == 2) _tile_loadd(2, c1, stride);
    if constexpr (R == 2 && N == 2) _tile_loadd(3, c1 + 16, stride);
  } else {
    _tile_zero(0);
    if constexpr (N == 2) _tile_zero(1);
    if constexpr (R == 2) _tile_zero(2);
    if constexpr (R == 2 && N == 2) _tile_zero(3);
  }
  for (int64_t k = 0; k < depth; ++k) {
    _tile_loadd(4, a + k * tile_elements, 64);
    _tile_loadd(6, b + k * tile_elements, 64);
    _tile_dpbf16ps(0, 4, 6);
    if constexpr (N == 2) {
      _tile_loadd(7, b + ldb + k * tile_elements, 64);
      _tile_dpbf16ps(1, 4, 7);
    }
    if constexpr (R == 2) {
      _tile_loadd(5, a + lda + k * tile_elements, 64);
      _tile_dpbf16ps(2, 5, 6);
      if constexpr (N == 2) _tile_dpbf16ps(3, 5, 7);
    }
  }
  _tile_stored(0, c, stride);
  if constexpr (N == 2) _tile_stored(1, c + 16, stride);
  if constexpr (R == 2) _tile_stored(2, c1, stride);
  if constexpr (R == 2 && N == 2) _tile_stored(3, c1 + 16, stride);
}

#else

struct MatrixUnit {
  MatrixUnit() {}  // so that an unused one is no warning
};

template <int R, int N>
SPARSEXMC_INLINE void multiply_tiles(float* c, int64_t ldc, bool add, const Bf16* a, int64_t lda, const Bf16* b,
                                     int64_t ldb, int64_t depth) {
  constexpr int rows = 4;  // of C at a time, in registers with their even and odd sums
  const auto even = [](VecI pair) { return from_bits(pair << 16); };
  const auto odd = [](VecI pair) { return from_bits(pair & static_cast<int32_t>(0xFFFF0000u)); };
  for (int n = 0; n < N; ++n)
    for (int64_t r = 0; r < R * tile_rows; r += rows)
      for (int64_t v = 0; v < tile_rows; v += width) {
        float* out = c + r * ldc + n * tile_rows + v;
        Vec total[rows];
        for (int i = 0; i < rows; ++i) total[i] = add ? load(out + i * ldc) : Vec{};
        for (int64_t k = 0; k < depth; ++k) {
          const Bf16* left = a + r / tile_rows * lda + k * tile_elements + r % tile_rows * tile_depth;
          const Bf16* right = b + n * ldb + k * tile_elements + 2 * v;
          Vec sums[rows][2] = {};
          for (int64_t p = 0; p < 16; ++p) {
            VecI pairs;
            std::memcpy(&pairs, right + p * tile_depth, sizeof pairs);
            const Vec even_right = even(pairs), odd_right = odd(pairs);
#pragma GCC unroll 4
            for (int i = 0; i < rows; ++i) {
              int32_t pair;
              std::memcpy(&pair, left + i * tile_depth + 2 * p, sizeof pair);
              const VecI both = broadcast_int(pair);
              sums[i][0] += even(both) * even_right;
              sums[i][1] += odd(both) * odd_right;
            }
          }
          for (int i = 0; i < rows; ++i) total[i] += sums[i][0] + sums[i][1];
        }
        for (int i = 0; i < rows; ++i) store(out + i * ldc, total[i]);
      }
}

#endif

/// C[16 * rows, 16 * columns] = A B, or += if `add`: left panel times right panel, both of at least `depth` tiles a
/// block. @param lda, ldb tiles from one block of 16 to the next
inline void multiply_panels(float* c, int64_t ldc, bool add, const Bf16* a, int64_t lda, int64_t rows, const Bf16* b,
                            int64_t ldb, int64_t columns, int64_t depth) {
  lda *= tile_elements;
  ldb *= tile_elements;
  int64_t i = 0;
  for (; i + 2 <= rows; i += 2) {
    int64_t j = 0;
    for (; j + 2 <= columns; j += 2)
      multiply_tiles<2, 2>(c + 16 * (i * ldc + j), ldc, add, a + i * lda, lda, b + j * ldb, ldb, depth);
    if (j < columns) multiply_tiles<2, 1>(c + 16 * (i * ldc + j), ldc, add, a + i * lda, lda, b + j * ldb, ldb, depth);
  }
  if (i < rows) {
    int64_t j = 0;
    for (; j + 2 <= columns; j += 2)
      multiply_tiles<1, 2>(c + 16 * (i * ldc + j), ldc, add, a + i * lda, lda, b + j * ldb, ldb, depth);
    if (j < columns) multiply_tiles<1, 1>(c + 16 * (i * ldc + j), ldc, add, a + i * lda, lda, b + j * ldb, ldb, depth);
  }
}

}  // namespace sparsexmc::cpu::SPARSEXMC_ISA

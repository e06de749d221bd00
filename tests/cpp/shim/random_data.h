// Random operands for tests that hold the kernels of one device against those of another.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "cuda/bfloat16.h"
#include "kernels.h"

using sparsexmc::bfloat16;
using sparsexmc::DType;

/// Numbers in [-1, 1) that bf16 holds exactly, so that rounding operands to bf16 changes nothing.
inline std::vector<float> random_floats(int64_t n, uint32_t seed) {
  std::mt19937 random(seed);
  std::uniform_int_distribution<int> number(-128, 127);
  std::vector<float> v(static_cast<size_t>(n));
  for (float& x : v) x = static_cast<float>(number(random)) / 128.0f;
  return v;
}

/// [rows, columns] with row stride ldx, zero after the columns.
inline std::vector<float> padded(const std::vector<float>& v, int64_t rows, int64_t columns, int64_t ldx) {
  std::vector<float> out(static_cast<size_t>(rows * ldx));
  for (int64_t r = 0; r < rows; ++r) std::copy_n(v.begin() + r * columns, columns, out.begin() + r * ldx);
  return out;
}

/// A matrix of what the products read, with room for either type.
class Operand {
 public:
  Operand(DType dtype, const std::vector<float>& values) : dtype_(dtype), floats_(values) {
    for (float x : values) halves_.push_back(sparsexmc::cuda::to_bfloat16(x));
  }
  Operand(DType dtype, int64_t n) : Operand(dtype, std::vector<float>(static_cast<size_t>(n), NAN)) {}

  void* data() { return dtype_ == DType::float32 ? static_cast<void*>(floats_.data()) : halves_.data(); }
  std::vector<float> values() const {
    if (dtype_ == DType::float32) return floats_;
    std::vector<float> v;
    for (bfloat16 x : halves_) v.push_back(sparsexmc::cuda::to_float(x));
    return v;
  }

 private:
  DType dtype_;
  std::vector<float> floats_;
  std::vector<bfloat16> halves_;
};

inline bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

/// a[r, c] against b[r, c] for c < columns, each with its row stride; tolerance relative to max(1, |b|).
inline void check_close(const std::vector<float>& a, int64_t stride_a, const std::vector<float>& b, int64_t stride_b,
                        int64_t columns, float tolerance) {
  for (size_t r = 0; r * static_cast<size_t>(stride_a) < a.size(); ++r)
    for (int64_t c = 0; c < columns; ++c) {
      const float x = a[r * stride_a + c], y = b[r * stride_b + c];
      if (std::fabs(x - y) <= tolerance * std::fmax(1.0f, std::fabs(y))) continue;
      FAIL_CHECK("row " << r << ", column " << c << ": " << x << ", expected " << y);
      return;
    }
}
inline void check_close(const std::vector<float>& a, const std::vector<float>& b, float tolerance) {
  REQUIRE(a.size() == b.size());
  check_close(a, 1, b, 1, 1, tolerance);
}

/// Columns [columns, ldx) of every row are zero.
inline void check_padding(const std::vector<float>& a, int64_t columns, int64_t ldx) {
  int64_t wrong = 0;
  for (size_t i = 0; i < a.size(); ++i) wrong += static_cast<int64_t>(i) % ldx >= columns && a[i] != 0.0f;
  CHECK(wrong == 0);
}

// Whether numbers are finite, for weights on their way in and out and for what comes of them.
#pragma once

#include <cstdint>
#include <cstring>

#include "sparsexmc/tensor_view.h"

namespace sparsexmc {

/// Whether `count` numbers are all finite. @param dtype float32 or bfloat16; others are whole numbers, and finite
inline bool all_finite(const void* data, DType dtype, int64_t count) {
  uint32_t wrong = 0;  // without a branch, so that the loops are vectorised
  if (dtype == DType::float32) {
    const auto* numbers = static_cast<const float*>(data);
    for (int64_t i = 0; i < count; ++i) {
      uint32_t bits;
      std::memcpy(&bits, numbers + i, sizeof bits);
      wrong |= static_cast<uint32_t>((bits & 0x7F800000u) == 0x7F800000u);
    }
  } else if (dtype == DType::bfloat16) {
    const auto* numbers = static_cast<const uint16_t*>(data);
    // The analyzer mixes up the sizes of the two types.
    for (int64_t i = 0; i < count; ++i)
      wrong |= static_cast<uint32_t>((numbers[i] & 0x7F80u) == 0x7F80u);  // NOLINT(clang-analyzer-security.ArrayBound)
  }
  return wrong == 0;
}

}  // namespace sparsexmc

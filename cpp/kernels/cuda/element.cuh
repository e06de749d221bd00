// Elements of the float dtypes: what they are in device code, and how they are read and rounded.
#pragma once

#include <type_traits>

#include "device_compat.h"
#include "float16.h"
#include "stored_tensor.h"
#include "visit.h"

namespace sparsexmc::cuda {

SPARSEXMC_DEVICE float to_float(float x) { return x; }
SPARSEXMC_DEVICE float to_float(float16 x) { return from_float16(x.bits); }

/// Rounds to nearest even.
template <class T>
SPARSEXMC_DEVICE T from_float(float x) {
  if constexpr (std::is_same_v<T, float>)
    return x;
  else if constexpr (std::is_same_v<T, bfloat16>)
    return to_bfloat16(x);
  else
    return T{to_float16(x)};
}

/// Whether numbers are stored as they are computed, so that nothing is rounded.
template <class T>
inline constexpr bool is_fp32 = std::is_same_v<T, float>;

/// The elements of a stored tensor, and whether it has any. T is what its dtype says.
template <class T>
SPARSEXMC_DEVICE T* elements(const StoredTensor& tensor) {
  return static_cast<T*>(tensor.data);
}
SPARSEXMC_DEVICE bool exists(const StoredTensor& tensor) { return tensor.data != nullptr; }

}  // namespace sparsexmc::cuda

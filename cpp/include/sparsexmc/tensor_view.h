// Borrowed arrays: dense tensors, sparse feature rows and label lists. Views own nothing.
#pragma once

#include <cstddef>
#include <cstdint>

#include "sparsexmc/device.h"
#include "sparsexmc/export.h"

namespace sparsexmc {

enum class DType { float32, float16, bfloat16, uint8, uint16, uint32, int32, int64 };

/// Bytes per element.
SPARSEXMC_API size_t dtype_size(DType dtype);
/// The NumPy spelling, e.g. "float32".
SPARSEXMC_API const char* dtype_name(DType dtype);

/// A C-contiguous matrix [rows, cols].
struct TensorView {
  void* data = nullptr;
  int64_t rows = 0;
  int64_t cols = 0;
  DType dtype = DType::float32;
  Device device = {};
};

/// An array of int32 or int64 numbers, as scipy makes either.
struct IndexView {
  const void* data = nullptr;
  bool is_64bit = false;

  int64_t operator[](int64_t i) const {
    return is_64bit ? static_cast<const int64_t*>(data)[i] : static_cast<const int32_t*>(data)[i];
  }
};

/// The positives of a batch in CSR form: row b holds labels indices[indptr[b] .. indptr[b + 1]), the user's label ids
/// in any order. A label that occurs twice in a row counts once.
struct LabelsView {
  int64_t rows = 0;
  IndexView indptr;
  IndexView indices;
};

/// Sparse features [rows, cols] in CSR form with fp32 values. Duplicate columns add up.
struct CsrView {
  int64_t rows = 0;
  int64_t cols = 0;
  IndexView indptr;
  IndexView indices;
  const float* values = nullptr;
};

}  // namespace sparsexmc

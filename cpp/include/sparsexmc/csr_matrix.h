// A sparse matrix that owns its arrays.
#pragma once

#include <cstdint>
#include <vector>

#include "sparsexmc/tensor_view.h"

namespace sparsexmc {

/// Columns ascend within a row, each once.
struct CsrMatrix {
  int64_t rows = 0;
  int64_t cols = 0;
  std::vector<int64_t> indptr;  ///< [rows + 1]
  std::vector<int32_t> indices;
  std::vector<float> values;  ///< empty for labels: every entry is a 1

  CsrView view() const { return {rows, cols, {indptr.data(), true}, {indices.data(), false}, values.data()}; }
};

}  // namespace sparsexmc

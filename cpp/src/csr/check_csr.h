// The check in front of every loop over rows in CSR form: no offset and no column leads out of an array.
#pragma once

#include <cstdint>
#include <string>

#include "sparsexmc/tensor_view.h"

namespace sparsexmc {

/// Offsets begin at 0 or later and never fall, so that none exceeds the last, which the caller has held against the
/// length of `indices`; columns lie in [0, cols).
/// @param name of the argument, e.g. "labels"  @param entry what a column is, e.g. "label id"
/// @throws ArgumentError naming row, value and bound
void check_csr(const std::string& name, int64_t rows, IndexView indptr, IndexView indices, int64_t cols,
               const std::string& entry);

}  // namespace sparsexmc

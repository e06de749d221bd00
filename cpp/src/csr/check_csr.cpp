#include "csr/check_csr.h"

#include "sparsexmc/error.h"

namespace sparsexmc {

void check_csr(const std::string& name, int64_t rows, IndexView indptr, IndexView indices, int64_t cols,
               const std::string& entry) {
  int64_t previous = indptr[0];
  if (previous < 0)
    throw ArgumentError(name + ": indptr begins with " + std::to_string(previous) + "; it must be >= 0");
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t end = indptr[row + 1];
    if (end < previous)
      throw ArgumentError(name + ": indptr decreases from " + std::to_string(previous) + " to " + std::to_string(end) +
                          " at row " + std::to_string(row) + "; it must never fall");
    previous = end;
  }
  for (int64_t row = 0, i = indptr[0]; row < rows; ++row)
    for (; i < indptr[row + 1]; ++i)
      if (const int64_t column = indices[i]; column < 0 || column >= cols)
        throw ArgumentError(name + ": row " + std::to_string(row) + " holds " + entry + " " + std::to_string(column) +
                            "; it must lie in 0.." + std::to_string(cols - 1));
}

}  // namespace sparsexmc

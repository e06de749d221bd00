// Where the positives of a row begin in the label-sorted list of a batch.
#pragma once

#include "kernels.h"

namespace sparsexmc::kernels {

/// First positive with row >= `row`, by bisection.
SPARSEXMC_HD int64_t first_positive(const Positive* positives, int64_t count, int64_t row) {
  int64_t low = 0, high = count;
  while (low < high) {
    const int64_t middle = (low + high) / 2;
    if (static_cast<int64_t>(positives[middle].row) < row)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

}  // namespace sparsexmc::kernels

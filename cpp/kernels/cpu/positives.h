// Walking the label-sorted list of positives alongside the rows of a segment.
#pragma once

#include "kernels.h"

namespace sparsexmc::cpu::SPARSEXMC_ISA {

using kernels::Positive;

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

/// Factor on the loss of the positives of a row.
SPARSEXMC_HD float positive_weight(const kernels::Segment& s, int64_t row) {
  return s.positive_weights == nullptr ? 1.0f : s.positive_weights[row];
}

}  // namespace sparsexmc::cpu::SPARSEXMC_ISA

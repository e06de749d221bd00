// Walking the label-sorted list of positives alongside the rows of a segment.
#pragma once

#include "first_positive.h"

namespace sparsexmc::cpu::SPARSEXMC_ISA {

using kernels::first_positive;
using kernels::Positive;

/// Factor on the loss of the positives of a row.
SPARSEXMC_HD float positive_weight(const kernels::Segment& s, int64_t row) {
  return s.positive_weights == nullptr ? 1.0f : s.positive_weights[row];
}

}  // namespace sparsexmc::cpu::SPARSEXMC_ISA

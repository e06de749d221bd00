// Decisions of the CPU backend alone: everything is fp32, and how the columns of a batch are padded and handled.
#pragma once

#include "kernels.h"

namespace sparsexmc::cpu {

/// Columns of every transposed matrix are padded to a multiple of this, so that all instruction sets see whole vectors.
inline constexpr int64_t column_padding = 16;
/// Columns handled together by the step; fixes the order of the sums over the batch.
inline constexpr int64_t strip_columns = 256;

/// A stride of a multiple of 256 bytes would put every row into the same few cache sets; one more vector spreads them.
SPARSEXMC_HD int64_t leading_dimension(int64_t batch) {
  const int64_t columns = round_up(batch, column_padding);
  return columns % 64 == 0 ? columns + column_padding : columns;
}

/// Scratch of one worker in floats, rounded up so that every worker has cache lines of its own.
SPARSEXMC_HD int64_t worker_floats(int64_t floats) {
  return round_up(floats, static_cast<int64_t>(MemoryPool::granularity / sizeof(float)));
}

/// The untyped operands of the table of contents.
SPARSEXMC_HD float* fp32(void* data) { return static_cast<float*>(data); }
SPARSEXMC_HD const float* fp32(const void* data) { return static_cast<const float*>(data); }
SPARSEXMC_HD float* fp32(const StoredTensor& tensor) { return static_cast<float*>(tensor.data); }
/// Its elements from place `at` on; null if there is no such tensor.
SPARSEXMC_HD float* fp32_at(const StoredTensor& tensor, int64_t at) {
  return tensor.data != nullptr ? fp32(tensor) + at : nullptr;
}

}  // namespace sparsexmc::cpu

// Sizes of a batch, which all layers are told.
#pragma once

#include <cstdint>

namespace sparsexmc {

/// Where a batch lies and which randomness it uses.
struct BatchSizes {
  int64_t batch;
  int64_t ldx;
  float dropout = 0.0f;            // 0 at prediction
  uint64_t step = 0;               // keys the dropout mask and the rounding of weights
  const uint32_t* skip = nullptr;  // see kernels.h
};

}  // namespace sparsexmc

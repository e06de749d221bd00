// How the numbers of a tensor are stored: what layers hand to kernels for weights and their optimizer state.
#pragma once

#include <cstdint>

#include "sparsexmc/tensor_view.h"

namespace sparsexmc {

/// A tensor in device memory that owns nothing. Element i stands for its stored value, times scales[i / block] where
/// there are scales. Elements are counted as they lie in memory, so that a block can be all that a group has.
struct StoredTensor {
  void* data = nullptr;  // null: there is no such tensor, for example a slot that the optimizer does without
  DType dtype = DType::float32;
  float* scales = nullptr;  // [elements / block], powers of two; null: all are 1, and block is 0
  int64_t block = 0;        // elements that share a scale
};

}  // namespace sparsexmc

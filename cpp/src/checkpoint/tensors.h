// Questions about a classifier's tensors that writing and reading share.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <vector>

#include "sparsexmc/classifier.h"

namespace sparsexmc::checkpoint {

inline bool is_float(DType dtype) { return dtype == DType::float32 || dtype == DType::bfloat16; }

inline bool is_optimizer_state(const NamedTensor& tensor) { return tensor.name.starts_with("optimizer."); }

/// One buffer for every tensor in turn, as large as the largest.
inline std::unique_ptr<std::byte[]> make_buffer(const std::vector<NamedTensor>& tensors) {
  size_t bytes = 0;
  for (const NamedTensor& tensor : tensors) bytes = std::max(bytes, tensor.bytes());
  return std::make_unique_for_overwrite<std::byte[]>(bytes);
}

}  // namespace sparsexmc::checkpoint

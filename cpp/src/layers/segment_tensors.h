// The tensors of the output layer's segments, and of the meta-classifier, which is laid out as one of them.
#pragma once

#include <optional>
#include <vector>

#include "layers/shapes.h"
#include "layers/tensor_spec.h"

namespace sparsexmc {

struct SegmentTensors {
  TensorSpec weights;                          // [rows, fan_in]
  std::optional<TensorSpec> indices;           // [groups, fan_in]; none: dense
  TensorSpec bias;                             // [rows]
  std::optional<TensorSpec> positive_weights;  // [rows]

  /// In the order of plan and checkpoint.
  std::vector<TensorSpec> list() const;
};

/// @param number of the segment; -1: the meta-classifier, which only training has
SegmentTensors segment_tensors(const ClassifierConfig& config, const SegmentShape& shape, int number);

/// Those of all segments of labels, one after another.
std::vector<TensorSpec> output_tensors(const ClassifierConfig& config);

}  // namespace sparsexmc

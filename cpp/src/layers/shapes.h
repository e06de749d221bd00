// Sizes that follow from a configuration; plan, layers and checkpoint all take them from here.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "kernels.h"
#include "sparsexmc/config.h"

namespace sparsexmc {

/// One segment of the output layer: a range of the internal label order.
struct SegmentShape {
  std::string name;   // "segments.<i>", or "auxiliary"
  int64_t first_row;  // in the internal order
  int64_t rows;
  int64_t group_size;
  int64_t groups;  // rows rounded up to whole groups
  int64_t fan_in;
  int64_t in_features;
  bool dense;         // reads every feature: no index array
  bool wide_indices;  // uint32 instead of uint16

  int64_t padded_rows() const { return groups * group_size; }
  int64_t weights() const { return padded_rows() * fan_in; }
};

/// Dense first, then fan-in; a part without labels is left out.
std::vector<SegmentShape> segment_shapes(const ClassifierConfig& config);

/// The meta-classifier as a dense segment of its own, whose rows are clusters; none without one.
std::optional<SegmentShape> auxiliary_shape(const ClassifierConfig& config);

/// The sizes of a segment as the kernels see them, without its arrays.
kernels::Segment segment_sizes(const SegmentShape& shape, DType weight_dtype);

}  // namespace sparsexmc

#include "layers/shapes.h"

#include <algorithm>

namespace sparsexmc {
namespace {

constexpr int64_t dense_group = 32;  // labels per group of a dense segment: enough to run at the speed of the registers

int64_t dense_group_size(int64_t rows) { return std::min(dense_group, std::max<int64_t>(rows, 2)); }

}  // namespace

std::vector<SegmentShape> segment_shapes(const ClassifierConfig& config) {
  const int64_t features = config.layer_features();
  const int64_t dense_rows = config.fan_in ? config.dense_labels : config.num_labels;
  std::vector<SegmentShape> shapes;
  const auto add = [&](int64_t first, int64_t rows, int64_t group, int64_t fan_in, bool dense) {
    if (rows == 0) return;
    shapes.push_back({"segments." + std::to_string(shapes.size()), first, rows, group, ceil_div(rows, group), fan_in,
                      features, dense, features > 65536});
  };
  add(0, dense_rows, dense_group_size(dense_rows), features, true);
  if (config.fan_in) add(dense_rows, config.num_labels - dense_rows, config.group_size, *config.fan_in, false);
  return shapes;
}

std::optional<SegmentShape> auxiliary_shape(const ClassifierConfig& config) {
  if (!config.auxiliary) return std::nullopt;
  const int64_t rows = config.auxiliary->clusters, group = dense_group_size(rows), features = config.layer_features();
  return SegmentShape{"auxiliary", 0, rows, group, ceil_div(rows, group), features, features, true, false};
}

kernels::Segment segment_sizes(const SegmentShape& shape, DType weight_dtype) {
  kernels::Segment s;
  s.weights.dtype = weight_dtype;
  s.dense = shape.dense;
  s.wide_indices = shape.wide_indices;
  s.rows = shape.rows;
  s.groups = shape.groups;
  s.group_size = shape.group_size;
  s.fan_in = shape.fan_in;
  s.in_features = shape.in_features;
  return s;
}

}  // namespace sparsexmc

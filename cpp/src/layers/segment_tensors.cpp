#include "layers/segment_tensors.h"

#include <utility>

namespace sparsexmc {

std::vector<TensorSpec> SegmentTensors::list() const {
  std::vector<TensorSpec> list{weights};
  if (indices) list.push_back(*indices);
  list.push_back(bias);
  if (positive_weights) list.push_back(*positive_weights);
  return list;
}

SegmentTensors segment_tensors(const ClassifierConfig& config, const SegmentShape& shape, int number) {
  const bool of_labels = number >= 0;
  const auto tensor = [&](const char* name, DType dtype, std::vector<int64_t> dimensions, Per per) {
    TensorSpec spec{shape.name + "." + name, dtype, std::move(dimensions)};
    spec.segment = number;
    spec.predicts = of_labels;
    if (of_labels) spec.per = per;
    return spec;
  };
  SegmentTensors tensors{tensor("weights", config.weight_dtype, {shape.rows, shape.fan_in}, Per::row), std::nullopt,
                         tensor("bias", DType::float32, {shape.rows}, Per::row), std::nullopt};
  tensors.weights.layout = Layout::grouped;
  for (TensorSpec* trained : {&tensors.weights, &tensors.bias}) {
    trained->role = Role::trained;
    trained->group_size = shape.group_size;
  }
  if (!shape.dense) {
    const DType index = shape.wide_indices ? DType::uint32 : DType::uint16;
    tensors.indices = tensor("indices", index, {shape.groups, shape.fan_in}, Per::group);
    tensors.indices->below = shape.in_features;
  }
  if (of_labels && config.positive_weights != PositiveWeights::none) {
    tensors.positive_weights = tensor("positive_weights", DType::float32, {shape.rows}, Per::row);
    tensors.positive_weights->predicts = false;
  }
  return tensors;
}

std::vector<TensorSpec> output_tensors(const ClassifierConfig& config) {
  std::vector<TensorSpec> all;
  int number = 0;
  for (const SegmentShape& shape : segment_shapes(config))
    for (const TensorSpec& spec : segment_tensors(config, shape, number++).list()) all.push_back(spec);
  return all;
}

}  // namespace sparsexmc

#include "layers/label_clusters.h"

#include "layers/segment_tensors.h"

namespace sparsexmc {
namespace {

TensorSpec clusters_tensor(const ClassifierConfig& config) {
  TensorSpec spec{"auxiliary.clusters", DType::uint32, {config.num_labels}, Layout::host_table};
  spec.predicts = false;
  spec.below = config.auxiliary->clusters;
  return spec;
}

}  // namespace

std::vector<TensorSpec> auxiliary_tensors(const ClassifierConfig& config) {
  if (!config.auxiliary) return {};
  std::vector<TensorSpec> all = segment_tensors(config, *auxiliary_shape(config), -1).list();
  all.push_back(clusters_tensor(config));
  return all;
}

LabelClusters::LabelClusters(const ClassifierConfig& config, Buffers& buffers)
    : config_(*config.auxiliary),
      buffers_(buffers),
      shapes_{*auxiliary_shape(config)},
      num_labels_(config.num_labels),
      table_(buffers.host_table<uint32_t>(clusters_tensor(config).name)) {}

void LabelClusters::initialise(const int64_t* clusters, const uint32_t* label_rows) {
  for (int64_t label = 0; label < num_labels_; ++label)
    table_[label] = static_cast<uint32_t>(
        clusters != nullptr ? clusters[label] : int64_t{label_rows[label]} * config_.clusters / num_labels_);
}

std::optional<AuxiliaryStep> LabelClusters::stage(const LabelsView& labels, int64_t step) const {
  const auto weight = static_cast<float>(config_.weight_at(step));
  if (weight == 0.0f) return std::nullopt;
  return AuxiliaryStep{sort_positives(buffers_, cluster_positives_name, labels, table_, shapes_).front(), weight};
}

}  // namespace sparsexmc

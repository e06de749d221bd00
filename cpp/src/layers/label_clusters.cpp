#include "layers/label_clusters.h"

namespace sparsexmc {

LabelClusters::LabelClusters(const ClassifierConfig& config, const Context& context, Buffers& buffers)
    : config_(*config.auxiliary),
      buffers_(buffers),
      shapes_{*auxiliary_shape(config)},
      table_("auxiliary.clusters", config.num_labels, context, buffers) {}

void LabelClusters::initialise(const int64_t* clusters, const uint32_t* label_rows) {
  for (int64_t label = 0; label < table_.size(); ++label)
    table_.data()[label] = static_cast<uint32_t>(
        clusters != nullptr ? clusters[label] : int64_t{label_rows[label]} * config_.clusters / table_.size());
}

std::optional<AuxiliaryStep> LabelClusters::stage(const LabelsView& labels, int64_t step) const {
  const auto weight = static_cast<float>(config_.weight_at(step));
  if (weight == 0.0f) return std::nullopt;
  return AuxiliaryStep{sort_positives(buffers_, "auxiliary.positives", labels, table_.data(), shapes_).front(), weight};
}

}  // namespace sparsexmc

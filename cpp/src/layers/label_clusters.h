// The meta-classifier's targets: the cluster of every label, and from it the positives of a batch.
#pragma once

#include <optional>
#include <vector>

#include "layers/positives.h"
#include "layers/tensor_spec.h"
#include "sparsexmc/classifier.h"

namespace sparsexmc {

/// The meta-classifier's part in one step.
struct AuxiliaryStep {
  SegmentPositives positives;  // rows are clusters
  float weight;                // of its loss
};

/// The meta-classifier's: those of its segment, and the cluster of every user label id; empty without one.
std::vector<TensorSpec> auxiliary_tensors(const ClassifierConfig& config);

/// Room for the positives of a batch.
inline constexpr const char* cluster_positives_name = "auxiliary.positives";

class LabelClusters {
 public:
  LabelClusters(const ClassifierConfig& config, Buffers& buffers);

  /// @param clusters by user label id; null: runs of rows of the internal order, equally long
  /// @param label_rows internal row of every user id
  void initialise(const int64_t* clusters, const uint32_t* label_rows);

  /// Positives of a batch, in a buffer of their own; none when the weight of step `step` is 0.
  std::optional<AuxiliaryStep> stage(const LabelsView& labels, int64_t step) const;

 private:
  const MetaClassifier config_;
  Buffers& buffers_;
  const std::vector<SegmentShape> shapes_;  // its one segment
  const int64_t num_labels_;
  uint32_t* table_;  // [num_labels]
};

}  // namespace sparsexmc

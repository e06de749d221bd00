// What the meta-classifier learns: the cluster of every label, and from it the positives of a batch.
#pragma once

#include <optional>
#include <vector>

#include "layers/host_table.h"
#include "layers/positives.h"
#include "sparsexmc/classifier.h"

namespace sparsexmc {

/// The meta-classifier's part in one step.
struct AuxiliaryStep {
  SegmentPositives positives;  // rows are clusters
  float weight;                // of its loss
};

class LabelClusters {
 public:
  LabelClusters(const ClassifierConfig& config, const Context& context, Buffers& buffers);

  /// @param clusters by user label id; null: runs of rows of the internal order, equally long
  /// @param label_rows internal row of every user id
  void initialise(const int64_t* clusters, const uint32_t* label_rows);

  /// Positives of a batch in the buffer "auxiliary.positives"; none when the weight of step `step` is 0.
  std::optional<AuxiliaryStep> stage(const LabelsView& labels, int64_t step) const;

  HostTable& table() { return table_; }

 private:
  const MetaClassifier config_;
  Buffers& buffers_;
  const std::vector<SegmentShape> shapes_;  // its one segment
  HostTable table_;
};

}  // namespace sparsexmc

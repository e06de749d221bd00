// Other groups of labels in the middle of training: every group chooses its features from those that its new labels
// have learned to use.
#pragma once

#include <vector>

#include "layers/buffers.h"
#include "layers/segment_tensors.h"
#include "sparsexmc/csr_matrix.h"

namespace sparsexmc {

/// A fan-in segment and where its tensors lie.
struct SegmentInMemory {
  Context& context;
  const Buffers& buffers;
  const SegmentShape& shape;
  const SegmentTensors& tensors;
};

/// Puts every row where `from` says, in all tensors of the segment, optimizer state and averages included. Takes host
/// memory for twice the weights. @param from per new row the old one, within the segment
void regroup_rows(const SegmentInMemory& segment, const ClassifierConfig& config, const std::vector<int64_t>& from);

/// [rows, H]: the weights as sparse rows over the features that they read.
CsrMatrix sparse_rows(const SegmentInMemory& segment);

}  // namespace sparsexmc

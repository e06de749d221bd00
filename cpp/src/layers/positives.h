// The positives of a batch as the kernels want them: internal rows, sorted, unique, split by segment.
#pragma once

#include <vector>

#include "layers/buffers.h"
#include "layers/shapes.h"
#include "sparsexmc/tensor_view.h"

namespace sparsexmc {

struct SegmentPositives {
  const kernels::Positive* host;
  int64_t count;
  const kernels::Positive* data;  // the same list on the device
};

/// Checks a batch's labels. @throws ArgumentError naming row, value and remedy
void check_labels(const LabelsView& labels, int64_t num_labels);

/// Sorts checked labels by (internal row, instance), drops duplicates, and makes rows relative to their segment.
/// @param buffer name of the buffer that gets the lists  @param label_rows internal row of every user id
/// @returns one list per segment
std::vector<SegmentPositives> sort_positives(Buffers& buffers, const std::string& buffer, const LabelsView& labels,
                                             const uint32_t* label_rows, const std::vector<SegmentShape>& segments);

/// Sorts `count` entries with internal rows, in `list`, in the same way; the lists are not on a device yet.
/// @param spare room for as many
std::vector<SegmentPositives> split_positives(kernels::Positive* list, kernels::Positive* spare, int64_t count,
                                              const std::vector<SegmentShape>& segments);

}  // namespace sparsexmc

// A batch of sparse features as the kernels want it: row by row for the forward, feature by feature for the backward.
#pragma once

#include "kernels.h"
#include "layers/buffers.h"
#include "sparsexmc/tensor_view.h"

namespace sparsexmc {

/// Arrays on the device.
struct SparseBatch {
  const int64_t* row_starts;  // [rows + 1]
  const int32_t* columns;
  const float* values;
  const kernels::SparseEntry* by_feature;  // sorted by (feature, instance); null at prediction
  const int64_t* feature_runs;             // [runs + 1] offsets into by_feature
  int64_t runs;
  bool finite;
};

/// Checks shape and columns. @throws ArgumentError naming row, value and remedy
void check_features(const CsrView& features, int64_t in_features);

/// Copies checked rows [first, first + rows), times `scale`, into the buffers "batch.*"; with `train` also sorts them
/// by feature.
SparseBatch stage_features(Buffers& buffers, const CsrView& features, int64_t first, int64_t rows, float scale,
                           bool train);

}  // namespace sparsexmc

#include "layers/sparse_batch.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "csr/check_csr.h"
#include "layers/radix_sort.h"
#include "sparsexmc/error.h"

namespace sparsexmc {

using kernels::SparseEntry;

void check_features(const CsrView& features, int64_t in_features) {
  if (features.cols != in_features)
    throw ArgumentError("features: " + std::to_string(features.cols) + " columns, but in_features is " +
                        std::to_string(in_features) + "; pass the columns that the model was made for");
  check_csr("features", features.rows, features.indptr, features.indices, in_features, "column");
}

SparseBatch stage_features(Buffers& buffers, const CsrView& features, int64_t first, int64_t rows, float scale,
                           bool train) {
  const int64_t begin = features.indptr[first], count = features.indptr[first + rows] - begin;
  const int64_t room = std::max<int64_t>(count, 1);
  int64_t* row_starts = buffers.host<int64_t>("batch.row_starts", rows + 1);
  int32_t* columns = buffers.host<int32_t>("batch.columns", room);
  float* values = buffers.host<float>("batch.values", room);
  SparseBatch batch{};
  batch.finite = true;
  for (int64_t b = 0; b <= rows; ++b) row_starts[b] = features.indptr[first + b] - begin;
  for (int64_t i = 0; i < count; ++i) {
    columns[i] = static_cast<int32_t>(features.indices[begin + i]);
    values[i] = features.values[begin + i] * scale;
    batch.finite = batch.finite && std::isfinite(values[i]);
  }
  batch.row_starts = buffers.upload<int64_t>("batch.row_starts", row_starts, rows + 1);
  batch.columns = buffers.upload<int32_t>("batch.columns", columns, count);
  batch.values = buffers.upload<float>("batch.values", values, count);
  if (!train) return batch;

  SparseEntry* entries = buffers.host<SparseEntry>("batch.by_feature", 2 * room);
  int64_t* runs = buffers.host<int64_t>("batch.feature_runs", count + 1);
  for (int64_t b = 0; b < rows; ++b)
    for (int64_t i = row_starts[b]; i < row_starts[b + 1]; ++i)
      entries[i] = {static_cast<uint32_t>(columns[i]), static_cast<uint32_t>(b), values[i]};
  const SparseEntry* sorted = radix_sort(entries, entries + count, count, static_cast<uint32_t>(features.cols),
                                         [](const SparseEntry& e) { return e.feature; });
  for (int64_t i = 0; i < count; ++i)
    if (i == 0 || sorted[i].feature != sorted[i - 1].feature) runs[batch.runs++] = i;
  runs[batch.runs] = count;
  batch.by_feature = buffers.upload<SparseEntry>("batch.by_feature", sorted, count);
  batch.feature_runs = buffers.upload<int64_t>("batch.feature_runs", runs, batch.runs + 1);
  return batch;
}

}  // namespace sparsexmc

#include "sparsexmc/cluster_labels.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>

#include "clustering/label_bisection.h"
#include "layers/positives.h"
#include "layers/sparse_batch.h"
#include "sparsexmc/error.h"

namespace sparsexmc {
namespace {

void check(int64_t rows, const LabelsView& Y, int64_t num_labels, const LabelClustering& clustering) {
  constexpr int64_t most = std::numeric_limits<uint32_t>::max();
  if (num_labels < 1 || num_labels > most)
    throw ArgumentError("num_labels is " + std::to_string(num_labels) + "; it must lie in 1.." + std::to_string(most));
  if (rows > most) throw ArgumentError("X has " + std::to_string(rows) + " rows; pass up to " + std::to_string(most));
  if (rows != Y.rows)
    throw ArgumentError("X has " + std::to_string(rows) + " rows and Y " + std::to_string(Y.rows) +
                        "; pass one row of each per instance");
  if (clustering.group_size < 1)
    throw ArgumentError("group_size is " + std::to_string(clustering.group_size) +
                        "; give the labels per group, at least 1");
  if (clustering.dense_labels < 0 || clustering.dense_labels > num_labels)
    throw ArgumentError("dense_labels is " + std::to_string(clustering.dense_labels) + ", but num_labels is " +
                        std::to_string(num_labels) + "; use 0.." + std::to_string(num_labels));
  check_labels(Y, num_labels);
}

void check_finite(int64_t row, const float* begin, const float* end) {
  if (!std::all_of(begin, end, [](float value) { return std::isfinite(value); }))
    throw ArgumentError("X holds NaN or Inf in row " + std::to_string(row) + "; leave such rows out or repair them");
}

template <class Vectors, class Features>
std::vector<int64_t> cluster(const Features& X, const LabelsView& Y, int64_t num_labels,
                             const LabelClustering& clustering, ThreadPool& pool) {
  const LabelInstances instances(Y, num_labels);
  const Vectors vectors(X, instances, pool);
  const auto more_frequent = [&](uint32_t a, uint32_t b) {
    return instances.count(a) > instances.count(b) || (instances.count(a) == instances.count(b) && a < b);
  };
  std::vector<uint32_t> order(static_cast<size_t>(num_labels));
  std::iota(order.begin(), order.end(), 0u);
  std::sort(order.begin(), order.end(), more_frequent);

  const auto first = order.begin() + clustering.dense_labels;
  const auto end = std::stable_partition(first, order.end(), [&](uint32_t label) { return !vectors.is_zero(label); });
  std::sort(first, end);  // so that vectors are read in the order in which they lie
  bisect_labels(vectors, std::span(first, end), clustering.group_size, clustering.seed, pool);
  for (auto group = first; group < end; group += std::min(clustering.group_size, end - group))
    std::sort(group, group + std::min(clustering.group_size, end - group), more_frequent);
  return {order.begin(), order.end()};
}

}  // namespace

std::vector<int64_t> cluster_labels(const TensorView& X, const LabelsView& Y, int64_t num_labels,
                                    const LabelClustering& clustering, ThreadPool& pool) {
  check(X.rows, Y, num_labels, clustering);
  if (X.dtype != DType::float32)
    throw TypeError(std::string("X has dtype ") + dtype_name(X.dtype) + "; pass dense features as float32");
  if (X.device.kind != DeviceKind::cpu) throw ArgumentError("X is on " + X.device.name() + "; pass it in host memory");
  const auto* values = static_cast<const float*>(X.data);
  for (int64_t row = 0; row < X.rows; ++row) check_finite(row, values + row * X.cols, values + (row + 1) * X.cols);
  return cluster<DenseLabelVectors>(X, Y, num_labels, clustering, pool);
}

std::vector<int64_t> cluster_labels(const CsrView& X, const LabelsView& Y, int64_t num_labels,
                                    const LabelClustering& clustering, ThreadPool& pool) {
  check(X.rows, Y, num_labels, clustering);
  check_features(X, X.cols);
  for (int64_t row = 0; row < X.rows; ++row) check_finite(row, X.values + X.indptr[row], X.values + X.indptr[row + 1]);
  return cluster<SparseLabelVectors>(X, Y, num_labels, clustering, pool);
}

}  // namespace sparsexmc

// A label order in which the labels of every group are alike: what the `label_order` of a classifier takes.
#pragma once

#include <cstdint>
#include <vector>

#include "sparsexmc/export.h"
#include "sparsexmc/tensor_view.h"
#include "sparsexmc/thread_pool.h"

namespace sparsexmc {

struct LabelClustering {
  int64_t group_size = 16;
  int64_t dense_labels = 0;  ///< so many of the most frequent labels come first and are not clustered
  uint64_t seed = 0;
};

/// Clusters labels by the mean of the features of their instances (the label features of Parabel: Prabhu et al., WWW
/// 2018) with a recursive 2-means whose cuts fall between groups.
///
/// The order is: the dense labels by descending frequency; groups of exactly `group_size` labels that are alike, next
/// to groups like them, each by descending frequency; labels without a mean (no instance, or only empty ones) by
/// descending frequency. Ties go to the smaller id. The last group that has a mean is filled up with labels that have
/// none.
///
/// The result depends on the arguments alone, not on the number of threads. Memory: 4 bytes per positive, and per label
/// 4 bytes for each column of dense features, or up to 1 KiB with sparse ones.
///
/// @param X float32 in host memory, all finite
/// @param Y as many rows as X
/// @returns [num_labels] internal row -> label id
/// @throws ArgumentError, TypeError
SPARSEXMC_API std::vector<int64_t> cluster_labels(const TensorView& X, const LabelsView& Y, int64_t num_labels,
                                                  const LabelClustering& clustering, ThreadPool& pool);
SPARSEXMC_API std::vector<int64_t> cluster_labels(const CsrView& X, const LabelsView& Y, int64_t num_labels,
                                                  const LabelClustering& clustering, ThreadPool& pool);

}  // namespace sparsexmc

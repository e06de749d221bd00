// Nearest training instances, and predictions that count their labels as votes.
#pragma once

#include <cstdint>
#include <functional>

#include "sparsexmc/tensor_view.h"
#include "sparsexmc/thread_pool.h"

namespace sparsexmc {

/// The instances whose sparse features have the largest inner product with each query, exactly, through an inverted
/// index. Of equal instances the one with the smaller number comes first, so the result does not depend on threads.
///
/// @param postings the instances' features transposed: a row per feature, a column per instance, all finite
/// @param queries [n, postings.rows], all finite
/// @param count neighbors per query
/// @param similarities [n, count] falling; 0 where fewer than `count` instances have a positive product
/// @param instances [n, count]; -1 in those places
/// @param poll called now and then by the calling thread; what it throws ends the work
/// @throws ArgumentError
void nearest_instances(const CsrView& postings, const CsrView& queries, int64_t count, float* similarities,
                       int64_t* instances, ThreadPool& pool, const std::function<void()>& poll = nullptr);

/// A classifier's ranking with the votes of neighbors: score = sigmoid(z) + weight * v / (s + doubt), where a neighbor
/// votes with similarity^power for each of its labels, v is the sum of a label's votes and s that of all neighbors.
struct Votes {
  double power = 2.0;
  double weight = 0.2;
  double doubt = 0.0;  ///< >= 0; neighbors that are all far away count for less
};

/// @param logits, ids [rows, width] the classifier's best labels, each once per row; others count as probability 0
/// @param similarities, instances [rows, count] as nearest_instances gives them
/// @param labels of all instances
/// @param k best labels to return: scores [rows, k] falling, best [rows, k] ids, ties to the smaller; -1 and score 0
///        behind the last one where there are fewer than k
/// @throws ArgumentError
void rank_with_votes(const float* logits, const int64_t* ids, int64_t width, const float* similarities,
                     const int64_t* instances, int64_t count, int64_t rows, const LabelsView& labels,
                     int64_t num_labels, const Votes& votes, int64_t k, float* scores, int64_t* best, ThreadPool& pool);

}  // namespace sparsexmc

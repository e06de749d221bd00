// Rankings that count the labels of neighbors as votes.
#pragma once

#include <cstdint>

#include "sparsexmc/tensor_view.h"
#include "sparsexmc/thread_pool.h"

namespace sparsexmc {

/// How neighbors count beside other scores: score + weight * v / (s + doubt), where a neighbor votes with
/// similarity^power for each of its labels, v is the sum of a label's votes and s that of all neighbors.
struct Votes {
  double power = 2.0;
  double weight = 0.2;
  double doubt = 0.0;  ///< >= 0; neighbors that are all far away count for less
};

/// @param candidates, ids [rows, width] scores of labels before the votes; those of the same label add up, others count
///        as 0, and so does id -1
/// @param similarities, instances [rows, count] as largest_products gives them
/// @param labels of all instances
/// @param k best labels to return: scores [rows, k] falling, best [rows, k] ids, ties to the smaller; -1 and score 0
///        behind the last one where there are fewer than k
/// @throws ArgumentError
void rank_with_votes(const float* candidates, const int64_t* ids, int64_t width, const float* similarities,
                     const int64_t* instances, int64_t count, int64_t rows, const LabelsView& labels,
                     int64_t num_labels, const Votes& votes, int64_t k, float* scores, int64_t* best, ThreadPool& pool);

}  // namespace sparsexmc

// Rankings that count the labels of neighbors as votes.
#pragma once

#include <cstdint>
#include <vector>

#include "sparsexmc/export.h"
#include "sparsexmc/tensor_view.h"
#include "sparsexmc/thread_pool.h"

namespace sparsexmc {

/// How neighbors count beside other scores: score + weight * v / (s + smoothing), where a neighbor votes with
/// similarity^power, times its own weight, for each of its labels, v is the sum of a label's votes and s that of all
/// neighbors.
struct Votes {
  double power = 2.0;
  double weight = 0.2;
  double smoothing = 0.0;  ///< >= 0; neighbors that are all far away count for less
};

/// An index of who contributes to which label, row by row: candidates with a score of their own, and neighbors with a
/// vote. It is built once and ranks with any scores, similarities and weights.
class SPARSEXMC_API VoteIndex {
 public:
  /// @param ids [rows, width] labels of the candidates; -1: none
  /// @param instances [rows, count] neighbors as largest_products gives them
  /// @param labels of all instances
  /// @param instance_weights of all instances, finite, >= 0; nullptr: all 1
  /// @throws ArgumentError
  VoteIndex(const int64_t* ids, int64_t width, const int64_t* instances, int64_t count, int64_t rows,
            const LabelsView& labels, const float* instance_weights, int64_t num_labels, ThreadPool& pool);

  int64_t rows() const { return static_cast<int64_t>(keys_.size()); }
  int64_t width() const { return width_; }  ///< candidates per row
  int64_t count() const { return count_; }  ///< neighbors per row
  int64_t num_labels() const { return num_labels_; }

  /// @param candidates [rows, width] scores before the votes; those of the same label add up, others count as 0; one
  ///        that is NaN does not stand this time
  /// @param similarities [rows, count] of the neighbors
  /// @param label_factors [num_labels] > 0 that multiply what a label has in the end; nullptr: 1
  /// @param k best labels to return: scores [rows, k] descending, best [rows, k] ids, ties to the smaller; -1 and score
  /// 0
  ///        after the last one where there are fewer than k
  /// @throws ArgumentError
  void rank(const float* candidates, const float* similarities, const Votes& votes, const float* label_factors,
            int64_t k, float* scores, int64_t* best, ThreadPool& pool) const;

 private:
  int64_t width_, count_, num_labels_;
  // Of every row, ascending: a label, and in the low half who contributes to it, a candidate or `width` + a neighbor.
  std::vector<std::vector<uint64_t>> keys_;
  std::vector<float> shares_;  // [rows, count] weights of the neighbors, 0 where there is none
};

}  // namespace sparsexmc

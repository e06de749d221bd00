// Ranking metrics of extreme classification, accumulated batch by batch.
#pragma once

#include <cstdint>
#include <vector>

#include "sparsexmc/export.h"
#include "sparsexmc/tensor_view.h"

namespace sparsexmc {

/// Inverse propensities q_l = 1 + C (n_l + B)^-A with C = (ln N - 1)(B + 1)^A (Jain, Prabhu and Varma, KDD 2016).
/// @param counts [num_labels] training instances with the label, each in [0, num_train]
/// @param num_train N, at least 3, so that C > 0
/// @param a, b A >= 0 and B > 0; 0.55 and 1.5 suit most sets
/// @throws ArgumentError
SPARSEXMC_API std::vector<double> inverse_propensities(const int64_t* counts, int64_t num_labels, int64_t num_train,
                                                       double a, double b);

/// All metrics at one cut-off k, as shares in [0, 1]. Those with propensities are 0 when none were given.
struct MetricsAtK {
  int64_t k = 0;
  double precision = 0.0;  ///< mean over instances of hits / k; instances without positives score 0
  double ndcg = 0.0;       ///< discounted hits over the best possible for that instance, discount 1 / log2(place + 1)
  double recall = 0.0;     ///< hits / max(1, number of positives)
  double psp = 0.0;        ///< a ratio of sums: weighted hits over the largest weights among the positives
  double psndcg = 0.0;     ///< the same with both discounted and divided by the instance's unweighted best
  double coverage = 0.0;   ///< labels hit at least once / labels with a positive
  double macro_f1 = 0.0;   ///< mean over all labels; a label neither predicted nor positive scores 0
};

/// Instances of every label at one cut-off k, each [num_labels].
struct LabelCounts {
  std::vector<uint32_t> positives;    ///< that have the label
  std::vector<uint32_t> predictions;  ///< among whose first k predictions it is
  std::vector<uint32_t> hits;         ///< both
};

/// Sums over instances in fp64 and integer counts per label, so the batches in which the instances come make no
/// difference beyond rounding. Holds 4 (1 + 2 |ks|) bytes per label.
class SPARSEXMC_API RankingMetrics {
 public:
  /// @param ks cut-offs, each >= 1, reported in this order
  /// @param inverse_propensities empty, or one positive weight per label
  /// @throws ArgumentError
  RankingMetrics(int64_t num_labels, std::vector<int64_t> ks, std::vector<double> inverse_propensities = {});

  /// Adds a batch.
  /// @param ids [truth.rows, width] predicted labels, best first, each at most once per row; -1: no prediction
  /// @param width at least the largest k; what lies beyond that is not read
  /// @throws ArgumentError; the sums are as before the call
  void update(const int64_t* ids, int64_t width, const LabelsView& truth);

  std::vector<MetricsAtK> compute() const;

  /// The counts from which precision and recall of single labels follow.
  /// @param k one of the cut-offs
  /// @throws ArgumentError
  LabelCounts label_counts(int64_t k) const;

  int64_t num_instances() const { return num_instances_; }
  bool has_propensities() const { return !inverse_propensities_.empty(); }

 private:
  struct Sums {
    int64_t hits = 0;
    double ndcg = 0.0, recall = 0.0;
    double psp = 0.0, psp_best = 0.0, psndcg = 0.0, psndcg_best = 0.0;
    std::vector<uint32_t> label_hits, label_predictions;  // [num_labels]
  };

  void check(const int64_t* ids, int64_t width, const LabelsView& truth) const;
  void add_row(const int64_t* ids, const std::vector<int64_t>& positives);

  int64_t num_labels_;
  std::vector<int64_t> ks_;
  std::vector<double> inverse_propensities_;
  int64_t max_k_ = 0;
  std::vector<double> discounts_;    // [max_k] 1 / log2(place + 1), places from 1
  std::vector<double> ideal_;        // [max_k + 1] sums of the first discounts
  std::vector<Sums> sums_;           // [ks]
  std::vector<uint32_t> positives_;  // [num_labels] instances with the label
  int64_t num_instances_ = 0;
  std::vector<char> hit_;        // [max_k] scratch of add_row
  std::vector<double> weights_;  // scratch of add_row: weights of the positives, largest first
};

}  // namespace sparsexmc

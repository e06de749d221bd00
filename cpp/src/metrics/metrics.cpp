#include "sparsexmc/metrics.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <string>

#include "csr/check_csr.h"
#include "sparsexmc/error.h"

namespace sparsexmc {
namespace {

/// The labels of a row, ascending, each once.
void distinct_labels(const LabelsView& truth, int64_t row, std::vector<int64_t>& out) {
  out.clear();
  for (int64_t i = truth.indptr[row]; i < truth.indptr[row + 1]; ++i) out.push_back(truth.indices[i]);
  if (!std::is_sorted(out.begin(), out.end())) std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
}

double ratio(double numerator, double denominator) { return denominator > 0.0 ? numerator / denominator : 0.0; }

}  // namespace

std::vector<double> inverse_propensities(const int64_t* counts, int64_t num_labels, int64_t num_train, double a,
                                         double b) {
  if (num_train < 3) {
    throw ArgumentError("num_train is " + std::to_string(num_train) +
                        ", but propensities need at least 3 training instances (ln N - 1 must be positive)");
  }
  if (!(std::isfinite(a) && a >= 0.0)) throw ArgumentError("A is " + std::to_string(a) + "; give a number >= 0");
  if (!(std::isfinite(b) && b > 0.0)) throw ArgumentError("B is " + std::to_string(b) + "; give a number > 0");
  const double c = (std::log(static_cast<double>(num_train)) - 1.0) * std::pow(b + 1.0, a);
  std::vector<double> q(static_cast<size_t>(num_labels));
  for (int64_t label = 0; label < num_labels; ++label) {
    if (counts[label] < 0 || counts[label] > num_train) {
      throw ArgumentError("counts[" + std::to_string(label) + "] is " + std::to_string(counts[label]) +
                          "; a label occurs on 0 to num_train = " + std::to_string(num_train) + " instances");
    }
    q[label] = 1.0 + c * std::pow(static_cast<double>(counts[label]) + b, -a);
  }
  return q;
}

RankingMetrics::RankingMetrics(int64_t num_labels, std::vector<int64_t> ks, std::vector<double> inverse_propensities)
    : num_labels_(num_labels), ks_(std::move(ks)), inverse_propensities_(std::move(inverse_propensities)) {
  if (num_labels_ < 1) {
    throw ArgumentError("num_labels is " + std::to_string(num_labels_) + "; give the number of labels, at least 1");
  }
  if (ks_.empty()) throw ArgumentError("k is empty; give at least one cut-off, such as 1, 3, 5");
  for (int64_t k : ks_) {
    if (k < 1) throw ArgumentError("k holds " + std::to_string(k) + "; a cut-off is at least 1");
  }
  const auto weights = static_cast<int64_t>(inverse_propensities_.size());
  if (weights != 0 && weights != num_labels_) {
    throw ArgumentError("inverse_propensities hold " + std::to_string(weights) + " numbers for " +
                        std::to_string(num_labels_) + " labels; give one per label");
  }
  for (int64_t label = 0; label < weights; ++label) {
    const double q = inverse_propensities_[label];
    if (!(std::isfinite(q) && q > 0.0)) {
      throw ArgumentError("inverse_propensities[" + std::to_string(label) + "] is " + std::to_string(q) +
                          "; give finite numbers > 0, as sparsexmc.metrics.inverse_propensities makes them");
    }
  }
  max_k_ = *std::max_element(ks_.begin(), ks_.end());
  ideal_.push_back(0.0);
  for (int64_t place = 1; place <= max_k_; ++place) {
    discounts_.push_back(1.0 / std::log2(static_cast<double>(place) + 1.0));
    ideal_.push_back(ideal_.back() + discounts_.back());
  }
  sums_.resize(ks_.size());
  for (Sums& sums : sums_) {
    sums.label_hits.resize(num_labels_);
    sums.label_predictions.resize(num_labels_);
  }
  positives_.resize(num_labels_);
  hit_.resize(max_k_);
}

void RankingMetrics::update(const int64_t* ids, int64_t width, const LabelsView& truth) {
  check(ids, width, truth);
  std::vector<int64_t> positives;
  for (int64_t row = 0; row < truth.rows; ++row) {
    distinct_labels(truth, row, positives);
    add_row(ids + row * width, positives);
  }
  num_instances_ += truth.rows;
}

void RankingMetrics::check(const int64_t* ids, int64_t width, const LabelsView& truth) const {
  if (width < max_k_) {
    throw ArgumentError("ids holds " + std::to_string(width) + " labels per row, but k = " + std::to_string(max_k_) +
                        " was asked for; predict more labels, or fill missing places with -1");
  }
  if (num_instances_ + truth.rows > std::numeric_limits<uint32_t>::max()) {
    throw ArgumentError("ids brings the total to " + std::to_string(num_instances_ + truth.rows) +
                        " instances; one RankingMetrics counts up to 4294967295");
  }
  check_csr("Y_true", truth.rows, truth.indptr, truth.indices, num_labels_, "label id");
  std::vector<int64_t> seen;
  for (int64_t row = 0; row < truth.rows; ++row) {
    const auto at = [row] { return "[" + std::to_string(row) + "]"; };
    seen.assign(ids + row * width, ids + row * width + max_k_);
    std::sort(seen.begin(), seen.end());
    if (seen.front() < -1 || seen.back() >= num_labels_) {
      throw ArgumentError("ids" + at() + " holds label " +
                          std::to_string(seen.front() < -1 ? seen.front() : seen.back()) + "; labels are 0 to " +
                          std::to_string(num_labels_ - 1) + ", and -1 where nothing is predicted");
    }
    const auto twice = std::adjacent_find(std::upper_bound(seen.begin(), seen.end(), -1), seen.end());
    if (twice != seen.end()) {
      throw ArgumentError("ids" + at() + " ranks label " + std::to_string(*twice) + " twice; rank every label once");
    }
  }
}

void RankingMetrics::add_row(const int64_t* ids, const std::vector<int64_t>& positives) {
  const auto count = static_cast<int64_t>(positives.size());
  for (int64_t label : positives) ++positives_[label];
  for (int64_t place = 0; place < max_k_; ++place) {
    hit_[place] = std::binary_search(positives.begin(), positives.end(), ids[place]);
  }
  weights_.clear();
  if (has_propensities()) {
    for (int64_t label : positives) weights_.push_back(inverse_propensities_[label]);
    const int64_t kept = std::min(max_k_, count);
    std::partial_sort(weights_.begin(), weights_.begin() + kept, weights_.end(), std::greater<>());
  }
  for (size_t at = 0; at < ks_.size(); ++at) {
    Sums& sums = sums_[at];
    int64_t hits = 0;
    double dcg = 0.0, weighted = 0.0, weighted_dcg = 0.0;
    for (int64_t place = 0; place < ks_[at]; ++place) {
      if (ids[place] < 0) continue;
      ++sums.label_predictions[ids[place]];
      if (!hit_[place]) continue;
      ++sums.label_hits[ids[place]];
      ++hits;
      dcg += discounts_[place];
      if (has_propensities()) {
        weighted += inverse_propensities_[ids[place]];
        weighted_dcg += discounts_[place] * inverse_propensities_[ids[place]];
      }
    }
    if (count == 0) continue;  // adds 0 to every sum
    const int64_t best = std::min(ks_[at], count);
    sums.hits += hits;
    sums.ndcg += dcg / ideal_[best];
    sums.recall += static_cast<double>(hits) / static_cast<double>(count);
    if (!has_propensities()) continue;
    double best_weighted = 0.0, best_weighted_dcg = 0.0;
    for (int64_t place = 0; place < best; ++place) {
      best_weighted += weights_[place];
      best_weighted_dcg += discounts_[place] * weights_[place];
    }
    sums.psp += weighted;
    sums.psp_best += best_weighted;
    sums.psndcg += weighted_dcg / ideal_[best];
    sums.psndcg_best += best_weighted_dcg / ideal_[best];
  }
}

std::vector<MetricsAtK> RankingMetrics::compute() const {
  if (num_instances_ == 0) throw ArgumentError("compute() was called before any instance; call update() first");
  const auto instances = static_cast<double>(num_instances_);
  std::vector<MetricsAtK> results;
  for (size_t at = 0; at < ks_.size(); ++at) {
    const Sums& sums = sums_[at];
    int64_t with_positive = 0, covered = 0;
    double f1 = 0.0;
    for (int64_t label = 0; label < num_labels_; ++label) {
      with_positive += positives_[label] > 0;
      covered += sums.label_hits[label] > 0;
      // F1 = 2 TP / (2 TP + FP + FN), and the denominator is predictions + positives.
      f1 += ratio(2.0 * sums.label_hits[label], static_cast<double>(sums.label_predictions[label]) + positives_[label]);
    }
    results.push_back({.k = ks_[at],
                       .precision = static_cast<double>(sums.hits) / (static_cast<double>(ks_[at]) * instances),
                       .ndcg = sums.ndcg / instances,
                       .recall = sums.recall / instances,
                       .psp = ratio(sums.psp, sums.psp_best),
                       .psndcg = ratio(sums.psndcg, sums.psndcg_best),
                       .coverage = ratio(static_cast<double>(covered), static_cast<double>(with_positive)),
                       .macro_f1 = f1 / static_cast<double>(num_labels_)});
  }
  return results;
}

LabelCounts RankingMetrics::label_counts(int64_t k) const {
  const auto at = std::find(ks_.begin(), ks_.end(), k);
  if (at == ks_.end()) {
    std::string known;
    for (int64_t cutoff : ks_) known += (known.empty() ? "" : ", ") + std::to_string(cutoff);
    throw ArgumentError("k is " + std::to_string(k) + ", but these metrics count at " + known + "; give one of these");
  }
  const Sums& sums = sums_[static_cast<size_t>(at - ks_.begin())];
  return {positives_, sums.label_predictions, sums.label_hits};
}

}  // namespace sparsexmc

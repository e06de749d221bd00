#include "clustering/label_vectors.h"

#include <cmath>
#include <utility>

#include "integers.h"
#include "sparsexmc/interrupt.h"

namespace sparsexmc {
namespace {

constexpr int64_t labels_per_item = 256;
constexpr int64_t rows_between_checks = 4096;  // for interrupts

/// body(block, first label, label after the last, worker)
template <class Body>
void for_label_blocks(ThreadPool& pool, int64_t num_labels, const Body& body) {
  parallel_for(pool, ceil_div(num_labels, labels_per_item), [&](int64_t block, int worker) {
    InterruptScope::check();  // in the thread that called; others have no scope
    const int64_t first = block * labels_per_item;
    body(block, first, smaller(first + labels_per_item, num_labels), worker);
  });
}

}  // namespace

LabelInstances::LabelInstances(const LabelsView& labels, int64_t num_labels)
    : starts_(static_cast<size_t>(num_labels) + 1) {
  std::vector<int64_t> last(static_cast<size_t>(num_labels));
  const auto for_each = [&](const auto& visit) {
    std::fill(last.begin(), last.end(), -1);
    for (int64_t row = 0; row < labels.rows; ++row) {
      if (row % rows_between_checks == 0) InterruptScope::check();
      for (int64_t i = labels.indptr[row]; i < labels.indptr[row + 1]; ++i)
        if (const int64_t label = labels.indices[i]; std::exchange(last[label], row) != row) visit(label, row);
    }
  };
  for_each([&](int64_t label, int64_t) { ++starts_[label + 1]; });
  for (int64_t label = 0; label < num_labels; ++label) starts_[label + 1] += starts_[label];
  rows_.resize(static_cast<size_t>(starts_.back()));
  std::vector<int64_t> next = starts_;
  for_each([&](int64_t label, int64_t row) { rows_[next[label]++] = static_cast<uint32_t>(row); });
}

DenseLabelVectors::DenseLabelVectors(const TensorView& features, const LabelInstances& instances, ThreadPool& pool)
    : width_(features.cols), values_(static_cast<size_t>(instances.num_labels() * features.cols)) {
  const auto* x = static_cast<const float*>(features.data);
  for_label_blocks(pool, instances.num_labels(), [&](int64_t, int64_t first, int64_t end, int) {
    std::vector<double> sum(static_cast<size_t>(width_));
    for (int64_t label = first; label < end; ++label) {
      std::fill(sum.begin(), sum.end(), 0.0);
      for (const uint32_t instance : instances.of(label))
        for (int64_t d = 0; d < width_; ++d) sum[d] += x[instance * width_ + d];
      double squares = 0.0;
      for (const double value : sum) squares += value * value;
      const double scale = squares > 0.0 ? 1.0 / std::sqrt(squares) : 0.0;
      for (int64_t d = 0; d < width_; ++d) values_[label * width_ + d] = static_cast<float>(sum[d] * scale);
    }
  });
}

/// Sums sparse rows; only what they touch is looked at.
class SparseLabelVectors::Mean {
 public:
  void add(const CsrView& features, int64_t row, int64_t dimensions) {
    sums_.resize(static_cast<size_t>(dimensions));
    for (int64_t i = features.indptr[row]; i < features.indptr[row + 1]; ++i) {
      const auto column = static_cast<uint64_t>(features.indices[i]);
      const uint64_t hash = column * 0x9E3779B97F4A7C15u;  // Fibonacci hashing: its upper bits are well mixed
      const bool shared = features.cols > dimensions;
      const auto dimension = static_cast<uint32_t>(shared ? (hash >> 32) % static_cast<uint64_t>(dimensions) : column);
      touched_.push_back(dimension);
      sums_[dimension] += shared && hash >> 63 != 0 ? -features.values[i] : features.values[i];
    }
  }

  /// Appends the largest entries, scaled to length 1 and with dimensions ascending, and starts anew.
  void take(std::vector<Entry>& out) {
    largest_.clear();
    for (const uint32_t dimension : touched_)
      if (const double sum = std::exchange(sums_[dimension], 0.0); sum != 0.0) largest_.emplace_back(dimension, sum);
    touched_.clear();
    if (largest_.size() > most_entries) {
      std::nth_element(largest_.begin(), largest_.begin() + most_entries, largest_.end(),
                       [](const Sum& a, const Sum& b) {
                         const double x = std::abs(a.second), y = std::abs(b.second);
                         return x > y || (x == y && a.first < b.first);
                       });
      largest_.resize(most_entries);
    }
    std::sort(largest_.begin(), largest_.end());
    double squares = 0.0;
    for (const Sum& sum : largest_) squares += sum.second * sum.second;
    const double length = std::sqrt(squares);
    for (const Sum& sum : largest_) out.push_back({sum.first, static_cast<float>(sum.second / length)});
  }

 private:
  using Sum = std::pair<uint32_t, double>;

  std::vector<double> sums_;  // [dimensions], 0 between labels
  std::vector<uint32_t> touched_;
  std::vector<Sum> largest_;
};

SparseLabelVectors::SparseLabelVectors(const CsrView& features, const LabelInstances& instances, ThreadPool& pool)
    : dimensions_(smaller(features.cols, most_dimensions)),
      blocks_(static_cast<size_t>(ceil_div(instances.num_labels(), labels_per_item))),
      vectors_(static_cast<size_t>(instances.num_labels())) {
  std::vector<Mean> means(static_cast<size_t>(pool.num_threads()));
  for_label_blocks(pool, instances.num_labels(), [&](int64_t block, int64_t first, int64_t end, int worker) {
    std::vector<Entry> entries;
    std::vector<size_t> ends;
    for (int64_t label = first; label < end; ++label) {
      for (const uint32_t instance : instances.of(label)) means[worker].add(features, instance, dimensions_);
      means[worker].take(entries);
      ends.push_back(entries.size());
    }
    blocks_[block].assign(entries.begin(), entries.end());  // no more room than it takes
    size_t begin = 0;
    for (int64_t label = first; label < end; ++label) {
      const size_t stop = ends[label - first];
      vectors_[label] = {blocks_[block].data() + begin, stop - begin};
      begin = stop;
    }
  });
}

}  // namespace sparsexmc

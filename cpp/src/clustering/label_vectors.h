// A vector per label: the mean of the features of its instances, scaled to length 1. It is 0 where there is no mean.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "sparsexmc/tensor_view.h"
#include "sparsexmc/thread_pool.h"

namespace sparsexmc {

using LabelSpan = std::span<const uint32_t>;

/// Labels transposed: the instances of every label, ascending, each once.
class LabelInstances {
 public:
  /// @param labels checked, of fewer than 2^32 rows
  LabelInstances(const LabelsView& labels, int64_t num_labels);

  int64_t num_labels() const { return static_cast<int64_t>(starts_.size()) - 1; }
  std::span<const uint32_t> of(int64_t label) const {
    return {rows_.data() + starts_[label], static_cast<size_t>(count(label))};
  }
  int64_t count(int64_t label) const { return starts_[label + 1] - starts_[label]; }

 private:
  std::vector<int64_t> starts_;  // [num_labels + 1]
  std::vector<uint32_t> rows_;
};

class DenseLabelVectors {
 public:
  DenseLabelVectors(const TensorView& features, const LabelInstances& instances, ThreadPool& pool);

  int64_t dimensions() const { return width_; }
  bool is_zero(uint32_t label) const {
    return std::all_of(row(label), row(label) + width_, [](float value) { return value == 0.0f; });
  }

  double dot(uint32_t label, const double* direction) const {
    const float* vector = row(label);
    double sums[8] = {};  // several at a time, for the compiler may not reorder a single sum
    int64_t d = 0;
    for (; d + 8 <= width_; d += 8)
      for (int64_t j = 0; j < 8; ++j) sums[j] += vector[d + j] * direction[d + j];
    for (; d < width_; ++d) sums[0] += vector[d] * direction[d];
    return ((sums[0] + sums[4]) + (sums[1] + sums[5])) + ((sums[2] + sums[6]) + (sums[3] + sums[7]));
  }

  void add(uint32_t label, double weight, double* sum) const {
    const float* vector = row(label);
    for (int64_t d = 0; d < width_; ++d) sum[d] += weight * vector[d];
  }

  /// Zeroes the places of `sum` that the vectors of these labels have to do with.
  void clear(LabelSpan, double* sum) const { std::fill_n(sum, width_, 0.0); }

 private:
  const float* row(uint32_t label) const { return values_.data() + label * width_; }

  int64_t width_;
  std::vector<float> values_;  // [num_labels, width]
};

/// Of a mean only the largest entries are kept: most labels are rare and have few, so that a hundred keep almost all of
/// it, in less memory and closer to the truth than a random projection.
class SparseLabelVectors {
 public:
  static constexpr size_t most_entries = 128;
  /// Columns beyond so many share dimensions, with random signs: feature hashing (Weinberger et al., ICML 2009).
  static constexpr int64_t most_dimensions = 1 << 17;

  SparseLabelVectors(const CsrView& features, const LabelInstances& instances, ThreadPool& pool);

  int64_t dimensions() const { return dimensions_; }
  bool is_zero(uint32_t label) const { return vectors_[label].empty(); }

  double dot(uint32_t label, const double* direction) const {
    double sum = 0.0;
    for (const Entry& e : vectors_[label]) sum += e.value * direction[e.dimension];
    return sum;
  }

  void add(uint32_t label, double weight, double* sum) const {
    for (const Entry& e : vectors_[label]) sum[e.dimension] += weight * e.value;
  }

  void clear(LabelSpan labels, double* sum) const {
    for (const uint32_t label : labels)
      for (const Entry& e : vectors_[label]) sum[e.dimension] = 0.0;
  }

 private:
  struct Entry {
    uint32_t dimension;
    float value;
  };
  class Mean;

  int64_t dimensions_;
  std::vector<std::vector<Entry>> blocks_;       // the entries of some consecutive labels each
  std::vector<std::span<const Entry>> vectors_;  // [num_labels] within blocks_, dimensions ascending
};

}  // namespace sparsexmc

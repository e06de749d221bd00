// Other groups of labels in the middle of training: the internal order changes, and every group chooses its features
// from those that its new labels have learned to use.
#include <algorithm>
#include <numeric>
#include <string>
#include <type_traits>

#include "model/classifier_impl.h"
#include "sparsexmc/cluster_labels.h"

namespace sparsexmc {
namespace {

/// @throws ArgumentError where there are no groups
const SegmentShape& tail_of(const std::vector<SegmentShape>& shapes) {
  for (const SegmentShape& shape : shapes)
    if (!shape.dense) return shape;
  throw ArgumentError("every label of this classifier is dense, so there are no groups; give it a fan_in");
}

/// A fan-in segment in host memory, row by row, and its way into other groups.
template <class Index>
class Regrouping {
 public:
  /// @param from per new row the old one, within the segment
  Regrouping(Classifier& classifier, const SegmentShape& shape, std::vector<int64_t> from)
      : classifier_(classifier),
        s_(shape),
        from_(std::move(from)),
        old_(static_cast<size_t>(s_.groups * s_.fan_in)),
        new_(old_.size()),
        values_(static_cast<size_t>(s_.rows * s_.fan_in)),
        moved_(values_.size()) {}

  /// @param weighted positives have weights, which go with their labels
  void run(const std::vector<std::string>& slots, bool weighted) {
    classifier_.read(s_.name + ".indices", old_.data());
    classifier_.read(s_.name + ".weights", values_.data(), DType::float32);
    choose_features();
    classifier_.write(s_.name + ".indices", new_.data());
    if (weighted) move(s_.name + ".positive_weights", false);
    for (const std::string tensor : {".weights", ".bias"}) {
      const bool weights = tensor == ".weights";
      move(s_.name + tensor, weights);
      for (const std::string& slot : slots) move("optimizer." + s_.name + tensor + "." + slot, weights);
    }
  }

 private:
  const Index* features_of(const std::vector<Index>& indices, int64_t row) const {
    return indices.data() + row / s_.group_size * s_.fan_in;
  }

  /// For each new group the features with the largest sum of |w| over its labels, ties to the smaller one. The labels
  /// bring fan_in features at least, so that there are enough.
  void choose_features() {
    std::vector<double> sums(static_cast<size_t>(s_.in_features), -1.0);  // -1: no label has it
    std::vector<Index> candidates;
    for (int64_t group = 0; group < s_.groups; ++group) {
      for (int64_t row = group * s_.group_size; row < std::min((group + 1) * s_.group_size, s_.rows); ++row) {
        const Index* features = features_of(old_, from_[row]);
        const float* weights = values_.data() + from_[row] * s_.fan_in;
        for (int64_t f = 0; f < s_.fan_in; ++f) {
          double& sum = sums[features[f]];
          if (sum < 0.0) {
            candidates.push_back(features[f]);
            sum = 0.0;
          }
          sum += std::abs(static_cast<double>(weights[f]));
        }
      }
      std::nth_element(candidates.begin(), candidates.begin() + s_.fan_in - 1, candidates.end(),
                       [&](Index a, Index b) { return sums[a] > sums[b] || (sums[a] == sums[b] && a < b); });
      Index* chosen = new_.data() + group * s_.fan_in;
      std::copy_n(candidates.begin(), s_.fan_in, chosen);
      std::sort(chosen, chosen + s_.fan_in);
      for (const Index feature : candidates) sums[feature] = -1.0;
      candidates.clear();
    }
  }

  /// Moves a tensor of the segment to the new rows. Weights, and their state, stay with their features; a label has
  /// zeros where it did not read the feature.
  void move(const std::string& name, bool weights) {
    classifier_.read(name, values_.data(), DType::float32);
    for (int64_t row = 0; row < s_.rows; ++row) {
      if (!weights) {
        moved_[row] = values_[from_[row]];
        continue;
      }
      const Index *from = features_of(old_, from_[row]), *end = from + s_.fan_in, *to = features_of(new_, row);
      const float* value = values_.data() + from_[row] * s_.fan_in;
      float* moved = moved_.data() + row * s_.fan_in;
      for (int64_t f = 0; f < s_.fan_in; ++f) {
        while (from < end && *from < to[f]) ++from, ++value;
        moved[f] = from < end && *from == to[f] ? *value : 0.0f;
      }
    }
    classifier_.write(name, moved_.data(), DType::float32);
  }

  Classifier& classifier_;
  const SegmentShape& s_;
  std::vector<int64_t> from_;          // [rows]
  std::vector<Index> old_, new_;       // [groups, fan_in]
  std::vector<float> values_, moved_;  // [rows, fan_in], of one tensor
};

}  // namespace

void Classifier::regroup(const int64_t* order) {
  Impl& m = *impl_;
  const SegmentShape& tail = tail_of(m.output.shapes());
  m.labels.check(order);
  for (int64_t row = 0; row < tail.first_row; ++row)
    if (order[row] != m.labels.ids()[row])
      throw ArgumentError("label_order: " + std::to_string(order[row]) + " at position " + std::to_string(row) +
                          ", where the dense label " + std::to_string(m.labels.ids()[row]) +
                          " is; begin with the dense labels as they are");
  std::vector<int64_t> from(static_cast<size_t>(tail.rows));
  for (int64_t row = 0; row < tail.rows; ++row)
    from[row] = m.labels.rows()[order[tail.first_row + row]] - tail.first_row;
  const std::vector<std::string> slots = state_slots(m.config.optimizer);
  const bool weighted = m.config.positive_weights != PositiveWeights::none;
  if (tail.wide_indices)
    Regrouping<uint32_t>(*this, tail, std::move(from)).run(slots, weighted);
  else
    Regrouping<uint16_t>(*this, tail, std::move(from)).run(slots, weighted);
  m.run([&] { m.labels.set(order); });
}

std::vector<int64_t> Classifier::order_by_weights(uint64_t seed, const std::function<void()>& poll) const {
  const Impl& m = *impl_;
  const SegmentShape& tail = tail_of(m.output.shapes());
  std::vector<float> weights(static_cast<size_t>(tail.rows * tail.fan_in));
  std::vector<int32_t> columns(weights.size());
  read(tail.name + ".weights", weights.data(), DType::float32);
  const auto list_columns = [&]<class Index>(Index) {
    std::vector<Index> indices(static_cast<size_t>(tail.groups * tail.fan_in));
    read(tail.name + ".indices", indices.data());
    for (int64_t row = 0; row < tail.rows; ++row)
      std::copy_n(indices.begin() + row / tail.group_size * tail.fan_in, tail.fan_in,
                  columns.begin() + row * tail.fan_in);
  };
  tail.wide_indices ? list_columns(uint32_t{}) : list_columns(uint16_t{});

  // A row is a label's weights, and its only instance.
  std::vector<int64_t> starts(static_cast<size_t>(tail.rows) + 1), own(static_cast<size_t>(tail.rows) + 1);
  std::iota(own.begin(), own.end(), int64_t{0});
  for (size_t row = 0; row < starts.size(); ++row) starts[row] = static_cast<int64_t>(row) * tail.fan_in;
  const CsrView rows{tail.rows, tail.in_features, {starts.data(), true}, {columns.data(), false}, weights.data()};
  const LabelsView labels{tail.rows, {own.data(), true}, {own.data(), true}};
  const std::vector<int64_t> clustered =
      cluster_labels(rows, labels, tail.rows, {tail.group_size, 0, seed, poll}, m.context->threads());
  std::vector<int64_t> order(m.labels.ids(), m.labels.ids() + tail.first_row);
  for (const int64_t row : clustered) order.push_back(m.labels.ids()[tail.first_row + row]);
  return order;
}

}  // namespace sparsexmc

#include "layers/regrouping.h"

#include <algorithm>
#include <cmath>

#include "layers/tensor_io.h"

namespace sparsexmc {
namespace {

/// body(Index{}) with the type of the segment's indices.
template <class Body>
auto visit_index(const SegmentShape& shape, Body&& body) {
  return shape.wide_indices ? body(uint32_t{}) : body(uint16_t{});
}

template <class T>
std::vector<T> read_all(const SegmentInMemory& s, const TensorSpec& tensor, DType dtype) {
  std::vector<T> values(static_cast<size_t>(tensor.lines() * tensor.width()));
  read_tensor(s.context, s.buffers, tensor, values.data(), dtype);
  return values;
}

/// A fan-in segment in host memory, row by row, and its way into other groups.
template <class Index>
class Regrouping {
 public:
  Regrouping(const SegmentInMemory& segment, const std::vector<int64_t>& from)
      : segment_(segment),
        s_(segment.shape),
        from_(from),
        old_(read_all<Index>(segment, *segment.tensors.indices, segment.tensors.indices->dtype)),
        new_(old_.size()),
        values_(static_cast<size_t>(s_.rows * s_.fan_in)),
        moved_(values_.size()) {}

  void run(const ClassifierConfig& config) {
    read(segment_.tensors.weights);
    choose_features();
    const TensorSpec& indices = *segment_.tensors.indices;
    write_tensor(segment_.context, segment_.buffers, indices, new_.data(), indices.dtype);
    for (const TensorSpec& tensor : held(segment_.tensors.list(), config, true))
      if (tensor.per == Per::row) move(tensor);
  }

 private:
  void read(const TensorSpec& tensor) {
    read_tensor(segment_.context, segment_.buffers, tensor, values_.data(), DType::float32);
  }

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
  void move(const TensorSpec& tensor) {
    read(tensor);
    for (int64_t row = 0; row < s_.rows; ++row) {
      if (tensor.layout != Layout::grouped) {
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
    write_tensor(segment_.context, segment_.buffers, tensor, moved_.data(), DType::float32);
  }

  const SegmentInMemory segment_;
  const SegmentShape& s_;
  const std::vector<int64_t>& from_;   // [rows]
  std::vector<Index> old_, new_;       // [groups, fan_in]
  std::vector<float> values_, moved_;  // [rows, fan_in], of one tensor
};

}  // namespace

void regroup_rows(const SegmentInMemory& segment, const ClassifierConfig& config, const std::vector<int64_t>& from) {
  visit_index(segment.shape, [&]<class Index>(Index) { Regrouping<Index>(segment, from).run(config); });
}

CsrMatrix sparse_rows(const SegmentInMemory& segment) {
  const SegmentShape& s = segment.shape;
  CsrMatrix rows{s.rows, s.in_features, std::vector<int64_t>(static_cast<size_t>(s.rows) + 1),
                 std::vector<int32_t>(static_cast<size_t>(s.rows * s.fan_in)),
                 read_all<float>(segment, segment.tensors.weights, DType::float32)};
  for (size_t row = 0; row < rows.indptr.size(); ++row) rows.indptr[row] = static_cast<int64_t>(row) * s.fan_in;
  visit_index(s, [&]<class Index>(Index) {
    const auto indices = read_all<Index>(segment, *segment.tensors.indices, segment.tensors.indices->dtype);
    for (int64_t row = 0; row < s.rows; ++row)
      std::copy_n(indices.begin() + row / s.group_size * s.fan_in, s.fan_in, rows.indices.begin() + row * s.fan_in);
  });
  return rows;
}

}  // namespace sparsexmc

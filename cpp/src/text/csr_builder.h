// Builds a sparse matrix row by row.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "sparsexmc/text_format.h"
#include "text/line_reader.h"

namespace sparsexmc {

/// Sorts the rows that need it, and merges their duplicates: values are summed, labels counted once.
class CsrBuilder {
 public:
  /// @param rows as announced  @param most_rows the number that the file can hold at most
  CsrBuilder(int64_t rows, int64_t cols, bool with_values, int64_t most_rows) : with_values_(with_values) {
    matrix_.cols = cols;
    // A wrong header must not take memory that the file cannot fill.
    matrix_.indptr.reserve(static_cast<size_t>(std::min(rows, most_rows)) + 1);
    matrix_.indptr.push_back(0);
  }

  void add(int32_t column, float value) {
    ascending_ = ascending_ && column > last_;
    last_ = column;
    matrix_.indices.push_back(column);
    if (with_values_) matrix_.values.push_back(value);
  }

  /// @throws DataError when the values of a column add up to infinity
  void end_row(const LineReader& reader) {
    if (!ascending_) sort_row(reader);
    matrix_.indptr.push_back(static_cast<int64_t>(matrix_.indices.size()));
    ++matrix_.rows;
    last_ = -1;
    ascending_ = true;
  }

  /// Makes room for `factor` times what is held, so that growing does not hold everything twice.
  void reserve(double factor) {
    const auto entries = static_cast<size_t>(static_cast<double>(matrix_.indices.size()) * factor);
    matrix_.indices.reserve(entries);
    if (with_values_) matrix_.values.reserve(entries);
  }

  CsrMatrix take() { return std::move(matrix_); }

 private:
  void sort_row(const LineReader& reader) {
    const auto begin = static_cast<size_t>(matrix_.indptr.back());
    row_.clear();
    for (size_t i = begin; i < matrix_.indices.size(); ++i) {
      row_.emplace_back(matrix_.indices[i], with_values_ ? matrix_.values[i] : 0.0f);
    }
    std::stable_sort(row_.begin(), row_.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    size_t out = begin;
    for (size_t i = 0; i < row_.size(); ++out) {
      const int32_t column = row_[i].first;
      double sum = 0.0;
      for (; i < row_.size() && row_[i].first == column; ++i) sum += row_[i].second;
      matrix_.indices[out] = column;
      if (with_values_) matrix_.values[out] = static_cast<float>(sum);
      if (!std::isfinite(static_cast<float>(sum))) {
        reader.fail("the values of feature " + std::to_string(column) + " add up beyond fp32; list it once");
      }
    }
    matrix_.indices.resize(out);
    if (with_values_) matrix_.values.resize(out);
  }

  CsrMatrix matrix_;
  bool with_values_;
  int32_t last_ = -1;
  bool ascending_ = true;
  std::vector<std::pair<int32_t, float>> row_;
};

}  // namespace sparsexmc

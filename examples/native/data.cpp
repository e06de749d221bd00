#include "data.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <set>
#include <span>
#include <vector>

using sparsexmc::CsrMatrix;
using sparsexmc::RepositoryData;

namespace {

void add_row(CsrMatrix& matrix, const std::set<int32_t>& columns) {
  matrix.indices.insert(matrix.indices.end(), columns.begin(), columns.end());
  matrix.indptr.push_back(static_cast<int64_t>(matrix.indices.size()));
  ++matrix.rows;
}

CsrMatrix no_rows(int64_t cols) {
  CsrMatrix matrix;
  matrix.cols = cols;
  matrix.indptr = {0};
  return matrix;
}

CsrMatrix select(const CsrMatrix& matrix, std::span<const int64_t> rows) {
  CsrMatrix selected = no_rows(matrix.cols);
  selected.rows = static_cast<int64_t>(rows.size());
  for (const int64_t row : rows) {
    const auto begin = matrix.indptr[row], end = matrix.indptr[row + 1];
    selected.indices.insert(selected.indices.end(), matrix.indices.begin() + begin, matrix.indices.begin() + end);
    if (!matrix.values.empty()) {
      selected.values.insert(selected.values.end(), matrix.values.begin() + begin, matrix.values.begin() + end);
    }
    selected.indptr.push_back(static_cast<int64_t>(selected.indices.size()));
  }
  return selected;
}

void scale_rows_to_unit_length(CsrMatrix& features) {
  for (int64_t row = 0; row < features.rows; ++row) {
    const std::span values(features.values.data() + features.indptr[row],
                           features.values.data() + features.indptr[row + 1]);
    const float squares = std::inner_product(values.begin(), values.end(), values.begin(), 0.0f);
    for (float& value : values) value /= std::sqrt(squares > 0 ? squares : 1.0f);
  }
}

}  // namespace

RepositoryData make_documents(int64_t documents, int64_t words, int64_t num_labels) {
  constexpr int words_per_label = 6, noise_words = 8, most_labels = 3;
  std::mt19937 random(1);
  std::uniform_int_distribution<int32_t> any_word(0, static_cast<int32_t>(words) - 1);
  std::vector<std::vector<int32_t>> words_of(num_labels, std::vector<int32_t>(words_per_label));
  std::vector<double> frequency(num_labels);
  for (int64_t label = 0; label < num_labels; ++label) {
    for (int32_t& word : words_of[label]) word = any_word(random);
    frequency[label] = 1.0 / static_cast<double>(label + 10);
  }
  std::discrete_distribution<int32_t> any_label(frequency.begin(), frequency.end());

  RepositoryData data{.features = no_rows(words), .labels = no_rows(num_labels)};
  for (int64_t document = 0; document < documents; ++document) {
    std::set<int32_t> labels, text;
    const int wanted = 1 + static_cast<int>(random() % most_labels);
    for (int i = 0; i < wanted; ++i) labels.insert(any_label(random));
    for (const int32_t label : labels) text.insert(words_of[label].begin(), words_of[label].end());
    for (int i = 0; i < noise_words; ++i) text.insert(any_word(random));
    add_row(data.labels, labels);
    add_row(data.features, text);
  }
  data.features.values.assign(data.features.indices.size(), 1.0f);
  return data;
}

std::pair<RepositoryData, RepositoryData> split(const RepositoryData& data, double test_share) {
  std::vector<int64_t> rows(data.features.rows);
  std::iota(rows.begin(), rows.end(), 0);
  std::shuffle(rows.begin(), rows.end(), std::mt19937(2));
  const auto train_rows = rows.size() - static_cast<size_t>(test_share * static_cast<double>(rows.size()));
  auto part = [&](std::span<const int64_t> chosen) {
    RepositoryData made{.features = select(data.features, chosen), .labels = select(data.labels, chosen)};
    scale_rows_to_unit_length(made.features);
    return made;
  };
  return {part(std::span(rows).first(train_rows)), part(std::span(rows).subspan(train_rows))};
}

sparsexmc::CsrView feature_rows(const CsrMatrix& features, int64_t first, int64_t rows) {
  return {.rows = rows,
          .cols = features.cols,
          .indptr = {features.indptr.data() + first, true},  // true: 64-bit numbers
          .indices = {features.indices.data(), false},
          .values = features.values.data()};
}

sparsexmc::LabelsView label_rows(const CsrMatrix& labels, int64_t first, int64_t rows) {
  return {.rows = rows, .indptr = {labels.indptr.data() + first, true}, .indices = {labels.indices.data(), false}};
}

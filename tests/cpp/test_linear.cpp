// One-versus-rest linear classifiers: the objective's minimum, the same weights on any number of threads, polling.
#include "sparsexmc/linear.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <stdexcept>
#include <utility>
#include <vector>

#include "sparsexmc/error.h"
#include "sparsexmc/interrupt.h"
#include "sparsexmc/inverted_index.h"

namespace sparsexmc {
namespace {

constexpr int64_t num_instances = 300, num_features = 50, num_labels = 200;

/// Rows of unit length with eight features each; row 7 is empty.
CsrMatrix random_features() {
  std::mt19937 random(1);
  CsrMatrix X{num_instances, num_features, {0}, {}, {}};
  for (int64_t row = 0; row < num_instances; ++row) {
    for (int32_t slot = 0; slot < 8 && row != 7; ++slot) {
      X.indices.push_back(6 * slot + static_cast<int32_t>(random() % 6));
      X.values.push_back(static_cast<float>(1.0 / std::sqrt(8.0)));
    }
    X.indptr.push_back(static_cast<int64_t>(X.indices.size()));
  }
  return X;
}

/// Two labels a row, the second one drawn among all.
CsrMatrix random_labels() {
  std::mt19937 random(2);
  CsrMatrix Y{num_instances, num_labels, {0}, {}, {}};
  for (int64_t row = 0; row < num_instances; ++row) {
    Y.indices.push_back(static_cast<int32_t>(row % 20));
    Y.indices.push_back(static_cast<int32_t>(20 + random() % (num_labels - 20)));
    Y.indptr.push_back(static_cast<int64_t>(Y.indices.size()));
  }
  return Y;
}

/// [num_features, num_labels]
std::vector<double> dense(const CsrMatrix& weights) {
  std::vector<double> W(num_features * num_labels);
  for (int64_t feature = 0; feature < num_features; ++feature)
    for (int64_t j = weights.indptr[feature]; j < weights.indptr[feature + 1]; ++j)
      W[feature * num_labels + weights.indices[j]] = weights.values[j];
  return W;
}

LabelsView labels_of(const CsrMatrix& Y) { return {Y.rows, {Y.indptr.data(), true}, {Y.indices.data(), false}}; }

}  // namespace

TEST_CASE("weights of linear classifiers are where the gradient of the objective vanishes") {
  const CsrMatrix X = random_features(), Y = random_labels();
  constexpr double cost = 0.5;
  const LinearOptions options{.negatives = num_labels, .threshold = 0.0, .seed = 3};
  ThreadPool pool(2);
  std::vector<float> instance_weights(num_instances, 1.0f);
  std::vector<double> W;
  SUBCASE("of all instances alike") {
    W = dense(train_linear(X.view(), labels_of(Y), num_labels, options, cost, 3, pool));
  }
  SUBCASE("of instances with weights") {
    // Up to 1: what margins may be off by enters the gradient times the weight.
    for (int64_t row = 0; row < num_instances; ++row) instance_weights[row] = static_cast<float>(row % 5) * 0.25f;
    LinearTraining training(X.view(), labels_of(Y), num_labels, options, {}, pool, instance_weights);
    for (int round = 0; round < 3; ++round) {
      training.search();
      training.solve(cost);
    }
    W = dense(training.weights());
  }
  for (int64_t label = 0; label < num_labels; ++label) {
    std::vector<double> gradient(num_features);
    double largest = 0.0;
    for (int64_t feature = 0; feature < num_features; ++feature) {
      gradient[feature] = W[feature * num_labels + label];
      largest = std::max(largest, std::abs(gradient[feature]));
    }
    for (int64_t row = 0; row < num_instances; ++row) {
      const bool positive = Y.indices[2 * row] == label || Y.indices[2 * row + 1] == label;
      double margin = -1.0;
      for (int64_t j = X.indptr[row]; j < X.indptr[row + 1]; ++j)
        margin += W[X.indices[j] * num_labels + label] * X.values[j];
      const double sign = positive ? 1.0 : -1.0, slack = std::max(0.0, 1.0 - sign * margin);
      for (int64_t j = X.indptr[row]; j < X.indptr[row + 1]; ++j)
        gradient[X.indices[j]] -= 2.0 * cost * instance_weights[row] * slack * sign * X.values[j];
    }
    for (const double part : gradient) CHECK(std::abs(part) <= 0.1 * largest + 1e-6);
  }
}

TEST_CASE("linear classifiers do not depend on the number of threads") {
  const CsrMatrix X = random_features(), Y = random_labels();
  ThreadPool one(1), four(4);
  const LinearOptions options{.negatives = 5};
  const CsrMatrix a = train_linear(X.view(), labels_of(Y), num_labels, options, 0.3, 4, one);
  const CsrMatrix b = train_linear(X.view(), labels_of(Y), num_labels, options, 0.3, 4, four);
  CHECK(a.indptr == b.indptr);
  CHECK(a.indices == b.indices);
  CHECK(a.values == b.values);
}

TEST_CASE("instances that are held out take no part until they are admitted") {
  const CsrMatrix X = random_features(), Y = random_labels();
  constexpr int64_t first_held = 250;
  std::vector<int64_t> held;
  for (int64_t row = first_held; row < num_instances; ++row) held.push_back(row);
  const LinearOptions options{.negatives = num_labels, .threshold = 0.0};
  ThreadPool pool(2);
  LinearTraining training(X.view(), labels_of(Y), num_labels, options, held, pool);
  const auto round = [&training] {
    training.search();
    training.solve(0.3);
    return training.weights();
  };
  const CsrView some{first_held, X.cols, {X.indptr.data(), true}, {X.indices.data(), false}, X.values.data()};
  const LabelsView their{first_held, {Y.indptr.data(), true}, {Y.indices.data(), false}};
  const CsrMatrix without = round();
  const CsrMatrix alone = train_linear(some, their, num_labels, options, 0.3, 1, pool);
  CHECK(without.indices == alone.indices);
  CHECK(without.values == alone.values);
  training.admit_held();
  CsrMatrix with;
  for (int i = 0; i < 4; ++i) with = round();  // until no new negative is found
  const CsrMatrix all = train_linear(X.view(), labels_of(Y), num_labels, options, 0.3, 4, pool);
  const std::vector<double> a = dense(with), b = dense(all);  // solved from other duals, to the same tolerance
  double most = 0.0, difference = 0.0;
  for (size_t i = 0; i < a.size(); ++i) {
    most = std::max(most, std::abs(b[i]));
    difference = std::max(difference, std::abs(a[i] - b[i]));
  }
  CHECK(difference <= 0.1 * most);
  const float few[] = {1.0f}, negative[] = {-1.0f};
  for (const std::span<const float> wrong : {std::span<const float>(few), std::span<const float>(negative)})
    CHECK_THROWS_AS(LinearTraining(X.view(), labels_of(Y), num_labels, options, {}, pool, wrong), ArgumentError);
  const int64_t outside[] = {num_instances};
  CHECK_THROWS_AS(LinearTraining(X.view(), labels_of(Y), num_labels, options, outside, pool), ArgumentError);
}

TEST_CASE("what a poll throws ends the training of linear classifiers") {
  const CsrMatrix X = random_features(), Y = random_labels();
  ThreadPool pool(2);
  int calls = 0;
  const InterruptScope scope([&] {
    if (++calls == 3) throw std::runtime_error("enough");
  });
  CHECK_THROWS_WITH(train_linear(X.view(), labels_of(Y), num_labels, {}, 0.3, 4, pool), "enough");
  CHECK(calls == 3);
}

TEST_CASE("excluded columns are not found, and equal products come by number") {
  const CsrMatrix index{1, 4, {0, 4}, {0, 1, 2, 3}, {2.0f, 3.0f, 3.0f, 3.0f}};
  const CsrMatrix query{1, 1, {0, 1}, {0}, {1.0f}}, excluded{1, 4, {0, 1}, {2}, {}};
  ThreadPool pool(1);
  const LabelsView without = labels_of(excluded);
  std::vector<float> products(4);
  std::vector<int64_t> columns(4);
  largest_products(index.view(), query.view(), &without, 4, products.data(), columns.data(), pool);
  CHECK(columns == std::vector<int64_t>{1, 3, 0, -1});
  CHECK(products == std::vector<float>{3.0f, 3.0f, 2.0f, 0.0f});
  CHECK_THROWS_AS(largest_products(index.view(), query.view(), &without, 0, products.data(), columns.data(), pool),
                  ArgumentError);
}

TEST_CASE("few entries among many columns are found as all columns would be") {
  std::mt19937 random(4);
  constexpr int64_t features = 30, columns = 2000, queries = 40;
  CsrMatrix index{features, columns, {0}, {}, {}}, query{queries, features, {0}, {}, {}};
  std::vector<double> dense(features * columns);
  for (int64_t feature = 0; feature < features; ++feature) {
    // Lists from a handful of columns to all of them, so that queries of both kinds come.
    const int64_t step = feature < 20 ? 150 : 1;
    for (int64_t column = static_cast<int64_t>(random()) % step; column < columns; column += step) {
      index.indices.push_back(static_cast<int32_t>(column));
      index.values.push_back(static_cast<float>(static_cast<int>(random() % 9) - 4));  // sums are exact, many are equal
      dense[feature * columns + column] = index.values.back();
    }
    index.indptr.push_back(static_cast<int64_t>(index.indices.size()));
  }
  for (int64_t row = 0; row < queries; ++row) {
    for (int32_t slot = 0; slot < 3; ++slot) {
      query.indices.push_back(slot * 6 + static_cast<int32_t>(random() % 6) + (row % 2 == 0 ? 0 : 12));
      query.values.push_back(static_cast<float>(1 + random() % 3));
    }
    query.indptr.push_back(static_cast<int64_t>(query.indices.size()));
  }
  constexpr int64_t count = 11;
  ThreadPool pool(2);
  std::vector<float> products(queries * count);
  std::vector<int64_t> found(queries * count);
  largest_products(index.view(), query.view(), nullptr, count, products.data(), found.data(), pool);
  for (int64_t row = 0; row < queries; ++row) {
    std::vector<std::pair<double, int64_t>> all;
    for (int64_t column = 0; column < columns; ++column) {
      double sum = 0.0;
      for (int64_t j = query.indptr[row]; j < query.indptr[row + 1]; ++j)
        sum += query.values[j] * dense[query.indices[j] * columns + column];
      if (sum > 0.0) all.emplace_back(-sum, column);
    }
    std::sort(all.begin(), all.end());
    for (int64_t i = 0; i < count; ++i) {
      const bool is = i < static_cast<int64_t>(all.size());
      CHECK(found[row * count + i] == (is ? all[i].second : -1));
      CHECK(static_cast<double>(products[row * count + i]) == (is ? -all[i].first : 0.0));
    }
  }
}

}  // namespace sparsexmc

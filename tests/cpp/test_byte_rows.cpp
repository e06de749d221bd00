// Search among rows of bytes against a plain loop, on any number of threads, and what it refuses.
#include "sparsexmc/byte_rows.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <limits>
#include <random>
#include <stdexcept>
#include <utility>
#include <vector>

#include "sparsexmc/error.h"
#include "sparsexmc/interrupt.h"

namespace sparsexmc {
namespace {

/// Rows [group, feature, place], scales and queries.
struct Problem {
  int64_t count, features, queries;
  std::vector<int8_t> values;
  std::vector<float> scales, x;

  Problem(int64_t rows, int64_t width, int64_t asked) : count(rows), features(width), queries(asked) {
    std::mt19937 random(7);
    const int64_t groups = (rows + ByteRows::group - 1) / ByteRows::group;
    for (int64_t i = 0; i < groups * ByteRows::group * width; ++i)
      values.push_back(static_cast<int8_t>(static_cast<int>(random() % 255) - 127));
    for (int64_t i = 0; i < rows; ++i) scales.push_back(1.0f + static_cast<float>(i % 3));
    // Whole numbers: sums are exact, whatever the order.
    for (int64_t i = 0; i < asked * width; ++i) x.push_back(static_cast<float>(static_cast<int>(random() % 21) - 10));
  }

  ByteRows rows() const { return {values.data(), scales.data(), count, features}; }
  TensorView view() {
    TensorView result;
    result.data = x.data();
    result.rows = queries;
    result.cols = features;
    return result;
  }
  float product(int64_t query, int64_t row) const {
    float sum = 0;
    for (int64_t f = 0; f < features; ++f)
      sum += x[static_cast<size_t>(query * features + f)] *
             static_cast<float>(values[static_cast<size_t>((row / ByteRows::group * features + f) * ByteRows::group +
                                                           row % ByteRows::group)]);
    return sum * scales[static_cast<size_t>(row)];
  }
};

}  // namespace

TEST_CASE("byte rows: the nearest by a plain loop, on one thread and on three") {
  for (const auto& [count, features, queries, k] :
       {std::array<int64_t, 4>{1, 1, 1, 1}, {33, 70, 5, 33}, {500, 12, 300, 7}, {64, 129, 17, 64}}) {
    Problem problem(count, features, queries);
    const auto places = static_cast<size_t>(queries * k);
    for (const int threads : {1, 3}) {
      Context context(Device{}, threads);
      std::vector<float> products(places);
      std::vector<int64_t> numbers(places);
      largest_products(problem.rows(), problem.view(), k, products.data(), numbers.data(), context);
      for (int64_t query = 0; query < queries; ++query) {
        std::vector<std::pair<float, int64_t>> expected;
        for (int64_t row = 0; row < count; ++row) expected.emplace_back(-problem.product(query, row), row);
        std::ranges::sort(expected);
        for (int64_t i = 0; i < k; ++i) {
          const auto place = static_cast<size_t>(query * k + i);
          REQUIRE(products[place] == -expected[static_cast<size_t>(i)].first);
          REQUIRE(numbers[place] == expected[static_cast<size_t>(i)].second);
        }
      }
    }
  }
}

TEST_CASE("byte rows: what is refused, and polling") {
  Problem problem(40, 8, 600);
  Context context(Device{}, 2);
  std::vector<float> products(600 * 3);
  std::vector<int64_t> numbers(600 * 3);
  const auto search = [&](int64_t k) {
    largest_products(problem.rows(), problem.view(), k, products.data(), numbers.data(), context);
  };
  CHECK_THROWS_AS(search(0), ArgumentError);
  CHECK_THROWS_AS(search(41), ArgumentError);
  int polls = 0;
  {
    const InterruptScope scope([&] { ++polls; });
    search(3);
    CHECK(polls == 3);  // slices of 256
    const InterruptScope inner([] { throw std::runtime_error("stop"); });
    CHECK_THROWS_AS(search(3), std::runtime_error);
  }
  search(3);
  CHECK(polls == 3);
  problem.x[9] = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_AS(search(3), ArgumentError);
  problem.x[9] = 0;
  problem.scales[39] = std::numeric_limits<float>::infinity();
  CHECK_THROWS_AS(search(3), ArgumentError);
  problem.scales[39] = 1;
  problem.features = 7;
  TensorView wide = problem.view();
  wide.cols = 8;
  CHECK_THROWS_AS(largest_products(problem.rows(), wide, 3, products.data(), numbers.data(), context), ArgumentError);
}

}  // namespace sparsexmc

#include "sparsexmc/inverted_index.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "positives.h"
#include "sparse_batch.h"
#include "sparsexmc/error.h"

namespace sparsexmc {
namespace {

constexpr int64_t queries_at_a_time = 64;  // between two polls, per thread

struct Found {
  float product;
  int64_t column;
};

bool larger(const Found& a, const Found& b) {
  return a.product > b.product || (a.product == b.product && a.column < b.column);
}

/// What a worker needs for a query: the products with all columns, zero between queries, and the best so far.
struct Search {
  std::vector<float> products;
  std::vector<Found> best;

  void run(const CsrView& postings, const CsrView& queries, const LabelsView* excluded, int64_t query, int64_t count) {
    products.resize(static_cast<size_t>(postings.cols));
    for (int64_t j = queries.indptr[query]; j < queries.indptr[query + 1]; ++j) {
      const int64_t feature = queries.indices[j];
      add(postings, postings.indptr[feature], postings.indptr[feature + 1], queries.values[j]);
    }
    if (excluded)
      for (int64_t j = excluded->indptr[query]; j < excluded->indptr[query + 1]; ++j)
        products[static_cast<size_t>(excluded->indices[j])] = 0.0f;
    select(static_cast<size_t>(count));
    std::ranges::fill(products, 0.0f);
  }

 private:
  void add(const CsrView& postings, int64_t begin, int64_t end, float value) {
    // Once per list and not per entry: which kind of integers they are.
    const auto over = [&](const auto* columns) {
      for (int64_t j = begin; j < end; ++j) products[static_cast<size_t>(columns[j])] += value * postings.values[j];
    };
    if (postings.indices.is_64bit) {
      over(static_cast<const int64_t*>(postings.indices.data));
    } else {
      over(static_cast<const int32_t*>(postings.indices.data));
    }
  }

  /// Leaves the largest in `best`, in order. The columns come by rising number, so a later one of equal product never
  /// replaces an earlier one.
  void select(size_t count) {
    best.clear();
    float least = 0.0f;
    for (size_t i = 0; i < products.size(); ++i) {
      if (!(products[i] > least)) continue;
      best.push_back({products[i], static_cast<int64_t>(i)});
      if (best.size() < 2 * count) continue;
      std::ranges::nth_element(best, best.begin() + static_cast<std::ptrdiff_t>(count - 1), larger);
      best.resize(count);
      least = best.back().product;
    }
    std::ranges::sort(best, larger);
    if (best.size() > count) best.resize(count);
  }
};

void check_finite(const char* name, const CsrView& matrix) {
  const float* end = matrix.values + matrix.indptr[matrix.rows];
  if (!std::all_of(matrix.values + matrix.indptr[0], end, [](float value) { return std::isfinite(value); }))
    throw ArgumentError(std::string(name) + " holds NaN or Inf; leave such rows out or repair them");
}

}  // namespace

void largest_products(const CsrView& postings, const CsrView& queries, const LabelsView* excluded, int64_t count,
                      float* products, int64_t* columns, ThreadPool& pool, const std::function<void()>& poll) {
  if (count < 1 || count > std::numeric_limits<int32_t>::max())
    throw ArgumentError("count is " + std::to_string(count) + "; give at least 1");
  check_features(postings, postings.cols);
  check_features(queries, postings.rows);
  check_finite("X", postings);
  check_finite("the queries", queries);
  if (excluded) {
    if (excluded->rows != queries.rows) throw ArgumentError("excluded has another number of rows than the queries");
    check_labels(*excluded, postings.cols);
  }
  std::vector<Search> searches(static_cast<size_t>(pool.num_threads()));
  const int64_t stride = queries_at_a_time * pool.num_threads();
  for (int64_t first = 0; first < queries.rows; first += stride) {
    if (poll) poll();
    parallel_for(pool, std::min(stride, queries.rows - first), [&](int64_t item, int worker) {
      const int64_t query = first + item;
      Search& search = searches[static_cast<size_t>(worker)];
      search.run(postings, queries, excluded, query, count);
      for (int64_t i = 0; i < count; ++i) {
        const bool found = i < static_cast<int64_t>(search.best.size());
        const Found one = found ? search.best[static_cast<size_t>(i)] : Found{0.0f, -1};
        products[query * count + i] = one.product;
        columns[query * count + i] = one.column;
      }
    });
  }
}

}  // namespace sparsexmc

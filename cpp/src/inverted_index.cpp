#include "sparsexmc/inverted_index.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <ranges>
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
  std::vector<int64_t> touched;
  std::vector<Found> best;

  void run(const CsrView& postings, const CsrView& queries, const LabelsView* excluded, int64_t query, size_t count) {
    products.resize(static_cast<size_t>(postings.cols));
    int64_t entries = 0;
    for (int64_t j = queries.indptr[query]; j < queries.indptr[query + 1]; ++j) {
      const int64_t feature = queries.indices[j], begin = postings.indptr[feature], end = postings.indptr[feature + 1];
      const float value = queries.values[j];
      for_columns(postings, begin, end, [&](int64_t i, int64_t column) {
        products[static_cast<size_t>(column)] += value * postings.values[i];
      });
      entries += end - begin;
    }
    if (excluded)
      for (int64_t j = excluded->indptr[query]; j < excluded->indptr[query + 1]; ++j)
        products[static_cast<size_t>(excluded->indices[j])] = 0.0f;
    if (entries < postings.cols / columns_per_entry) {  // far fewer than there are columns: look at these alone
      touch(postings, queries, query);
      select(touched, count);
      for (const int64_t column : touched) products[static_cast<size_t>(column)] = 0.0f;
    } else {
      select(std::views::iota(int64_t{0}, postings.cols), count);
      std::ranges::fill(products, 0.0f);
    }
  }

 private:
  static constexpr int64_t columns_per_entry = 16;  // sorting an entry costs about as much as passing over so many

  /// visit(i, column) for entries [begin, end)
  template <class Visit>
  static void for_columns(const CsrView& postings, int64_t begin, int64_t end, const Visit& visit) {
    // Once per list and not per entry: which kind of integers they are.
    const auto over = [&](const auto* columns) {
      for (int64_t i = begin; i < end; ++i) visit(i, int64_t{columns[i]});
    };
    if (postings.indices.is_64bit) {
      over(static_cast<const int64_t*>(postings.indices.data));
    } else {
      over(static_cast<const int32_t*>(postings.indices.data));
    }
  }

  /// The columns that share a feature with the query, ascending, each once.
  void touch(const CsrView& postings, const CsrView& queries, int64_t query) {
    touched.clear();
    for (int64_t j = queries.indptr[query]; j < queries.indptr[query + 1]; ++j) {
      const int64_t feature = queries.indices[j];
      for_columns(postings, postings.indptr[feature], postings.indptr[feature + 1],
                  [&](int64_t, int64_t column) { touched.push_back(column); });
    }
    std::ranges::sort(touched);
    touched.erase(std::ranges::unique(touched).begin(), touched.end());
  }

  /// Leaves the largest in `best`, in order. The columns come by rising number, so a later one of equal product never
  /// replaces an earlier one.
  template <class Columns>
  void select(const Columns& columns, size_t count) {
    best.clear();
    float least = 0.0f;
    for (const int64_t column : columns) {
      const float product = products[static_cast<size_t>(column)];
      if (!(product > least)) continue;
      best.push_back({product, column});
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
      search.run(postings, queries, excluded, query, static_cast<size_t>(count));
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

#include "sparsexmc/inverted_index.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "layers/positives.h"
#include "layers/sparse_batch.h"
#include "sparsexmc/error.h"
#include "sparsexmc/interrupt.h"

namespace sparsexmc {
namespace {

constexpr int64_t queries_at_a_time = 64;  // between two checks for interrupts, per thread
constexpr int64_t block = 32;              // products looked at together
constexpr uint64_t most_columns = std::numeric_limits<uint32_t>::max();

// A product above 0 and its column in one integer, that orders them: larger products first, then smaller columns.
using Found = uint64_t;

Found found(float product, int64_t column) {
  return uint64_t{std::bit_cast<uint32_t>(product)} << 32 | (most_columns - static_cast<uint64_t>(column));
}
float product_of(Found one) { return std::bit_cast<float>(static_cast<uint32_t>(one >> 32)); }
int64_t column_of(Found one) { return static_cast<int64_t>(most_columns - (one & most_columns)); }

/// Whether any of `block` products is above `least` >= 0.
bool any_above(const float* products, float least) {
  // Floats above 0 order as their bits do, and those below have the sign bit: integers compare several at a time.
  int32_t bound, above = 0, bits[block];
  std::memcpy(&bound, &least, sizeof bound);
  std::memcpy(bits, products, sizeof bits);
  for (int64_t i = 0; i < block; ++i) above |= bits[i] > bound;
  return above != 0;
}

/// A worker's scratch for a query: the products with all columns, zero between queries, and the best so far.
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
      start(count);
      for (const int64_t column : touched) meet(column);
      for (const int64_t column : touched) products[static_cast<size_t>(column)] = 0.0f;
    } else {
      start(count);
      int64_t column = 0;
      for (; column + block <= postings.cols; column += block)
        if (any_above(products.data() + column, least_))
          for (int64_t i = column; i < column + block; ++i) meet(i);
      for (; column < postings.cols; ++column) meet(column);
      std::ranges::fill(products, 0.0f);
    }
    std::ranges::sort(best, std::greater());
    if (best.size() > count) best.resize(count);
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

  void start(size_t count) {
    best.clear();
    wanted_ = count;
    least_ = 0.0f;
  }

  /// Keeps the column in `best` if it may be among the wanted ones. Columns come by ascending number, so a later one of
  /// equal product never replaces an earlier one.
  void meet(int64_t column) {
    const float product = products[static_cast<size_t>(column)];
    if (!(product > least_)) return;
    best.push_back(found(product, column));
    if (best.size() < 2 * wanted_) return;
    const auto last = best.begin() + static_cast<std::ptrdiff_t>(wanted_ - 1);
    std::ranges::nth_element(best, last, std::greater());
    least_ = product_of(*last);
    best.resize(wanted_);
  }

  size_t wanted_ = 0;
  float least_ = 0.0f;
};

void check_finite(const char* name, const CsrView& matrix) {
  const float* end = matrix.values + matrix.indptr[matrix.rows];
  if (!std::all_of(matrix.values + matrix.indptr[0], end, [](float value) { return std::isfinite(value); }))
    throw ArgumentError(std::string(name) + " holds NaN or Inf; leave such rows out or repair them");
}

}  // namespace

void largest_products(const CsrView& postings, const CsrView& queries, const LabelsView* excluded, int64_t count,
                      float* products, int64_t* columns, ThreadPool& pool) {
  if (count < 1 || count > std::numeric_limits<int32_t>::max())
    throw ArgumentError("count is " + std::to_string(count) + "; give at least 1");
  if (postings.cols > static_cast<int64_t>(most_columns))
    throw ArgumentError("the index has " + std::to_string(postings.cols) + " columns; up to 4294967295 are possible");
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
    InterruptScope::check();
    parallel_for(pool, std::min(stride, queries.rows - first), [&](int64_t item, int worker) {
      const int64_t query = first + item;
      Search& search = searches[static_cast<size_t>(worker)];
      search.run(postings, queries, excluded, query, static_cast<size_t>(count));
      for (int64_t i = 0; i < count; ++i) {
        const bool is_there = i < static_cast<int64_t>(search.best.size());
        products[query * count + i] = is_there ? product_of(search.best[static_cast<size_t>(i)]) : 0.0f;
        columns[query * count + i] = is_there ? column_of(search.best[static_cast<size_t>(i)]) : -1;
      }
    });
  }
}

}  // namespace sparsexmc

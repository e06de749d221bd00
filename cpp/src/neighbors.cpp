#include "sparsexmc/neighbors.h"

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

constexpr int64_t queries_at_a_time = 64;  // between two polls, and per item of a parallel loop

struct Neighbor {
  float similarity;
  int64_t instance;
};

bool nearer(const Neighbor& a, const Neighbor& b) {
  return a.similarity > b.similarity || (a.similarity == b.similarity && a.instance < b.instance);
}

struct Score {
  double score;
  int64_t label;
};

bool better(const Score& a, const Score& b) { return a.score > b.score || (a.score == b.score && a.label < b.label); }

/// What a worker needs for a query: the products with all instances, zero between queries, and the best so far.
struct Search {
  std::vector<float> products;
  std::vector<Neighbor> best;

  void run(const CsrView& postings, const CsrView& queries, int64_t query, int64_t count) {
    products.resize(static_cast<size_t>(postings.cols));
    for (int64_t j = queries.indptr[query]; j < queries.indptr[query + 1]; ++j) {
      const int64_t feature = queries.indices[j];
      add(postings, postings.indptr[feature], postings.indptr[feature + 1], queries.values[j]);
    }
    select(static_cast<size_t>(count));
    std::ranges::fill(products, 0.0f);
  }

 private:
  void add(const CsrView& postings, int64_t begin, int64_t end, float value) {
    // Once per list and not per entry: which kind of integers they are.
    const auto over = [&](const auto* instances) {
      for (int64_t j = begin; j < end; ++j) products[static_cast<size_t>(instances[j])] += value * postings.values[j];
    };
    if (postings.indices.is_64bit) {
      over(static_cast<const int64_t*>(postings.indices.data));
    } else {
      over(static_cast<const int32_t*>(postings.indices.data));
    }
  }

  /// Leaves the nearest in `best`, in order. The instances come by rising number, so a later one of equal similarity
  /// never replaces an earlier one.
  void select(size_t count) {
    best.clear();
    float least = 0.0f;
    for (size_t i = 0; i < products.size(); ++i) {
      if (!(products[i] > least)) continue;
      best.push_back({products[i], static_cast<int64_t>(i)});
      if (best.size() < 2 * count) continue;
      std::ranges::nth_element(best, best.begin() + static_cast<std::ptrdiff_t>(count - 1), nearer);
      best.resize(count);
      least = best.back().similarity;
    }
    std::ranges::sort(best, nearer);
    if (best.size() > count) best.resize(count);
  }
};

double sigmoid(double z) { return z >= 0.0 ? 1.0 / (1.0 + std::exp(-z)) : std::exp(z) / (1.0 + std::exp(z)); }

void check_finite(const char* name, const CsrView& matrix) {
  const float* end = matrix.values + matrix.indptr[matrix.rows];
  if (!std::all_of(matrix.values + matrix.indptr[0], end, [](float value) { return std::isfinite(value); }))
    throw ArgumentError(std::string(name) + " holds NaN or Inf; leave such rows out or repair them");
}

void check_between(const char* name, int64_t value, int64_t least, int64_t most) {
  if (value < least || value > most)
    throw ArgumentError(std::string(name) + " is " + std::to_string(value) + "; it must lie in " +
                        std::to_string(least) + ".." + std::to_string(most));
}

void check(const Votes& votes) {
  for (const auto& [name, value] : {std::pair{"power", votes.power}, {"weight", votes.weight}, {"doubt", votes.doubt}})
    if (!(value >= 0.0 && std::isfinite(value)))
      throw ArgumentError(std::string(name) + " is " + std::to_string(value) + "; give a finite number of at least 0");
}

}  // namespace

void nearest_instances(const CsrView& postings, const CsrView& queries, int64_t count, float* similarities,
                       int64_t* instances, ThreadPool& pool, const std::function<void()>& poll) {
  check_between("count", count, 1, std::numeric_limits<int32_t>::max());
  check_features(postings, postings.cols);
  check_features(queries, postings.rows);
  check_finite("X", postings);
  check_finite("the queries", queries);
  std::vector<Search> searches(static_cast<size_t>(pool.num_threads()));
  const int64_t stride = queries_at_a_time * pool.num_threads();
  for (int64_t first = 0; first < queries.rows; first += stride) {
    if (poll) poll();
    parallel_for(pool, std::min(stride, queries.rows - first), [&](int64_t item, int worker) {
      const int64_t query = first + item;
      Search& search = searches[static_cast<size_t>(worker)];
      search.run(postings, queries, query, count);
      for (int64_t i = 0; i < count; ++i) {
        const bool found = i < static_cast<int64_t>(search.best.size());
        const Neighbor neighbor = found ? search.best[static_cast<size_t>(i)] : Neighbor{0.0f, -1};
        similarities[query * count + i] = neighbor.similarity;
        instances[query * count + i] = neighbor.instance;
      }
    });
  }
}

void rank_with_votes(const float* logits, const int64_t* ids, int64_t width, const float* similarities,
                     const int64_t* instances, int64_t count, int64_t rows, const LabelsView& labels,
                     int64_t num_labels, const Votes& votes, int64_t k, float* scores, int64_t* best,
                     ThreadPool& pool) {
  check(votes);
  check_between("k", k, 1, num_labels);
  check_labels(labels, num_labels);
  for (int64_t i = 0; i < rows * width; ++i) check_between("ids", ids[i], 0, num_labels - 1);
  for (int64_t i = 0; i < rows * count; ++i) check_between("instances", instances[i], -1, labels.rows - 1);

  std::vector<std::vector<Score>> lists(static_cast<size_t>(pool.num_threads()));
  parallel_for(pool, rows, [&](int64_t row, int worker) {
    std::vector<Score>& list = lists[static_cast<size_t>(worker)];
    list.clear();
    double all = 0.0;
    const auto vote = [&](int64_t i) { return std::pow(std::max(similarities[row * count + i], 0.0f), votes.power); };
    for (int64_t i = 0; i < count; ++i)
      if (instances[row * count + i] >= 0) all += vote(i);
    const double unit = all > 0.0 ? votes.weight / (all + votes.doubt) : 0.0;
    for (int64_t i = 0; i < width; ++i) list.push_back({sigmoid(logits[row * width + i]), ids[row * width + i]});
    for (int64_t i = 0; i < count; ++i) {
      const int64_t instance = instances[row * count + i];
      if (instance < 0) continue;
      const double score = unit * vote(i);
      for (int64_t j = labels.indptr[instance]; j < labels.indptr[instance + 1]; ++j)
        list.push_back({score, labels.indices[j]});
    }
    // The same label side by side, in the order in which it came, so that sums do not depend on anything else.
    std::ranges::stable_sort(list, {}, &Score::label);
    size_t distinct = 0;
    for (size_t i = 0; i < list.size(); ++i) {
      if (distinct > 0 && list[distinct - 1].label == list[i].label) {
        list[distinct - 1].score += list[i].score;
      } else {
        list[distinct++] = list[i];
      }
    }
    list.resize(distinct);
    const auto kept = std::min(static_cast<size_t>(k), distinct);
    std::ranges::partial_sort(list, list.begin() + static_cast<std::ptrdiff_t>(kept), better);
    for (int64_t i = 0; i < k; ++i) {
      const bool found = i < static_cast<int64_t>(kept);
      scores[row * k + i] = found ? static_cast<float>(list[static_cast<size_t>(i)].score) : 0.0f;
      best[row * k + i] = found ? list[static_cast<size_t>(i)].label : -1;
    }
  });
}

}  // namespace sparsexmc

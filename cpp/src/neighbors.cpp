#include "sparsexmc/neighbors.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "positives.h"
#include "sparsexmc/error.h"

namespace sparsexmc {
namespace {

struct Score {
  double score;
  int64_t label;
};

bool better(const Score& a, const Score& b) { return a.score > b.score || (a.score == b.score && a.label < b.label); }

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

void rank_with_votes(const float* candidates, const int64_t* ids, int64_t width, const float* similarities,
                     const int64_t* instances, int64_t count, int64_t rows, const LabelsView& labels,
                     int64_t num_labels, const Votes& votes, int64_t k, float* scores, int64_t* best,
                     ThreadPool& pool) {
  check(votes);
  check_between("k", k, 1, num_labels);
  check_labels(labels, num_labels);
  for (int64_t i = 0; i < rows * width; ++i) check_between("ids", ids[i], -1, num_labels - 1);
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
    for (int64_t i = row * width; i < (row + 1) * width; ++i)
      if (ids[i] >= 0) list.push_back({candidates[i], ids[i]});
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

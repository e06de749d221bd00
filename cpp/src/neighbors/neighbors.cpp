#include "sparsexmc/neighbors.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "layers/positives.h"
#include "sparsexmc/error.h"

namespace sparsexmc {
namespace {

struct Score {
  double score;
  int64_t label;
};

bool better(const Score& a, const Score& b) { return a.score > b.score || (a.score == b.score && a.label < b.label); }

constexpr uint64_t low_half = std::numeric_limits<uint32_t>::max();

void check_between(const char* name, int64_t value, int64_t least, int64_t most) {
  if (value < least || value > most)
    throw ArgumentError(std::string(name) + " is " + std::to_string(value) + "; it must lie in " +
                        std::to_string(least) + ".." + std::to_string(most));
}

void check(const Votes& votes) {
  for (const auto& [name, value] :
       {std::pair{"power", votes.power}, {"weight", votes.weight}, {"smoothing", votes.smoothing}})
    if (!(value >= 0.0 && std::isfinite(value)))
      throw ArgumentError(std::string(name) + " is " + std::to_string(value) + "; give a finite number of at least 0");
}

}  // namespace

VoteIndex::VoteIndex(const int64_t* ids, int64_t width, const int64_t* instances, int64_t count, int64_t rows,
                     const LabelsView& labels, const float* instance_weights, int64_t num_labels, ThreadPool& pool)
    : width_(width),
      count_(count),
      num_labels_(num_labels),
      keys_(static_cast<size_t>(rows)),
      shares_(static_cast<size_t>(rows * count)) {
  check_between("num_labels", num_labels, 1, low_half);
  check_labels(labels, num_labels);
  for (int64_t i = 0; i < rows * width; ++i) check_between("ids", ids[i], -1, num_labels - 1);
  for (int64_t i = 0; i < rows * count; ++i) check_between("instances", instances[i], -1, labels.rows - 1);
  for (int64_t i = 0; instance_weights && i < labels.rows; ++i)
    if (!(instance_weights[i] >= 0.0f && std::isfinite(instance_weights[i])))
      throw ArgumentError("instance_weights holds " + std::to_string(instance_weights[i]) + " for row " +
                          std::to_string(i) + "; give finite numbers of at least 0");
  parallel_for(pool, rows, [&](int64_t row, int) {
    std::vector<uint64_t>& keys = keys_[row];
    const auto add = [&keys](int64_t label, int64_t source) {
      keys.push_back(static_cast<uint64_t>(label) << 32 | static_cast<uint64_t>(source));
    };
    for (int64_t i = 0; i < width; ++i)
      if (ids[row * width + i] >= 0) add(ids[row * width + i], i);
    for (int64_t i = 0; i < count; ++i) {
      const int64_t instance = instances[row * count + i];
      if (instance < 0) continue;
      const float share = instance_weights ? instance_weights[instance] : 1.0f;
      if (share == 0.0f) continue;  // as if it were no neighbor
      shares_[row * count + i] = share;
      for (int64_t j = labels.indptr[instance]; j < labels.indptr[instance + 1]; ++j) add(labels.indices[j], width + i);
    }
    std::ranges::sort(keys);
  });
}

void VoteIndex::rank(const float* candidates, const float* similarities, const Votes& votes, const float* label_factors,
                     int64_t k, float* scores, int64_t* best, ThreadPool& pool) const {
  check(votes);
  check_between("k", k, 1, std::numeric_limits<int32_t>::max());
  struct Scratch {
    std::vector<double> votes;
    std::vector<Score> list;
  };
  std::vector<Scratch> scratch(static_cast<size_t>(pool.num_threads()));
  parallel_for(pool, rows(), [&](int64_t row, int worker) {
    auto& [given, list] = scratch[static_cast<size_t>(worker)];
    given.assign(static_cast<size_t>(count_), 0.0);
    double all = 0.0;
    for (int64_t i = 0; i < count_; ++i) {
      const double share = shares_[row * count_ + i];
      if (share == 0.0) continue;
      given[i] = share * std::pow(std::max(similarities[row * count_ + i], 0.0f), votes.power);
      all += given[i];
    }
    const double unit = all > 0.0 ? votes.weight / (all + votes.smoothing) : 0.0;
    list.clear();
    for (const uint64_t key : keys_[row]) {
      const auto label = static_cast<int64_t>(key >> 32), source = static_cast<int64_t>(key & low_half);
      const double score =
          source < width_ ? candidates[row * width_ + source] : unit * given[static_cast<size_t>(source - width_)];
      if (std::isnan(score)) continue;
      if (!list.empty() && list.back().label == label) {
        list.back().score += score;
      } else {
        list.push_back({score, label});
      }
    }
    if (label_factors != nullptr)
      for (Score& entry : list) entry.score *= label_factors[entry.label];
    const auto kept = std::min(static_cast<size_t>(k), list.size());
    std::ranges::partial_sort(list, list.begin() + static_cast<std::ptrdiff_t>(kept), better);
    for (int64_t i = 0; i < k; ++i) {
      const bool found = i < static_cast<int64_t>(kept);
      scores[row * k + i] = found ? static_cast<float>(list[static_cast<size_t>(i)].score) : 0.0f;
      best[row * k + i] = found ? list[static_cast<size_t>(i)].label : -1;
    }
  });
}

}  // namespace sparsexmc

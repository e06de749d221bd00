#include "clustering/label_bisection.h"

#include <bit>
#include <utility>

#include "integers.h"
#include "layers/radix_sort.h"
#include "rng.h"
#include "sparsexmc/interrupt.h"

namespace sparsexmc {
namespace {

constexpr uint32_t attempts = 4;                // with different starts, of which the best is kept
constexpr int most_rounds = 8;                  // of 2-means; more changed the last of three digits of the mean cosine
constexpr int64_t least_share = 16;             // a cut leaves at least one sixteenth on either side: bounds the depth
constexpr int64_t labels_per_item = 2048;       // that a thread scores at a time
constexpr int64_t labels_per_thread = 1 << 14;  // nodes up to this size are one thread's; larger ones are shared
constexpr int64_t most_parts = 16;              // of the sum over a shared node

struct Scored {
  float score;
  uint32_t place;

  /// Increases while the score decreases.
  uint32_t key() const {
    const auto bits = std::bit_cast<uint32_t>(score);
    return bits >> 31 != 0 ? bits : bits ^ 0x7FFFFFFFu;
  }
};

struct Cut {
  int64_t left;
  double gain;  // what the cut takes off the sum of squared distances from the mean
};

/// Splits nodes, which are ranges of the labels. 2-means over two sides is a search for a direction: the side of a
/// label is its place along the difference of the sides' means. The threshold may lie anywhere between groups, so that
/// a cluster is not cut in two for the sake of balance.
template <class Vectors>
class Bisection {
 public:
  Bisection(const Vectors& vectors, std::span<uint32_t> labels, int64_t group_size, uint64_t seed, ThreadPool& pool)
      : vectors_(vectors),
        labels_(labels),
        group_size_(group_size),
        seed_(seed),
        pool_(pool),
        direction_(static_cast<size_t>(vectors.dimensions())) {}

  /// Splits [begin, end), which has more than one group. @returns where the right side begins
  int64_t split(int64_t begin, int64_t end) {
    const auto n = static_cast<size_t>(end - begin);
    const std::span<uint32_t> node = labels_.subspan(static_cast<size_t>(begin), n);
    scored_.resize(n);
    spare_.resize(n);
    sides_.resize(n);
    Cut best{0, -1.0};
    for (uint32_t attempt = 0; attempt < attempts; ++attempt) {
      start(node,
            rng::draw(seed_, rng::Purpose::shuffle, static_cast<uint64_t>(end), static_cast<uint64_t>(begin), attempt));
      const Cut cut = settle(node);
      if (cut.gain <= best.gain) continue;
      best = cut;
      best_sides_.swap(sides_);
      sides_.resize(n);
    }
    part(node, best.left);
    return begin + best.left;
  }

  void split_to_groups(int64_t begin, int64_t end) {
    if (end - begin <= group_size_) return;
    const int64_t middle = split(begin, end);
    split_to_groups(begin, middle);
    split_to_groups(middle, end);
  }

 private:
  /// The direction from one label to another, drawn at random.
  void start(LabelSpan node, const rng::Block& random) {
    const auto n = static_cast<uint32_t>(node.size());
    const uint32_t to = rng::below(random.word[0], n), other = rng::below(random.word[1], n - 1);
    vectors_.clear(node, direction_.data());
    vectors_.add(node[to], 1.0, direction_.data());
    vectors_.add(node[other + (other >= to)], -1.0, direction_.data());
    std::fill(sides_.begin(), sides_.end(), uint8_t{2});  // neither side
  }

  /// 2-means until no label changes sides.
  Cut settle(LabelSpan node) {
    for (int round = 0;; ++round) {
      const Scored* sorted = sort_by_score(node);
      const Cut cut = best_cut(sorted);
      if (!take_sides(sorted, cut.left) || round == most_rounds) return cut;
      point(node, cut.left);
      InterruptScope::check();
    }
  }

  /// By descending score along the direction, then by place.
  const Scored* sort_by_score(LabelSpan node) {
    const auto n = static_cast<int64_t>(node.size());
    parallel_for(pool_, ceil_div(n, labels_per_item), [&](int64_t item, int) {
      for (int64_t i = item * labels_per_item; i < smaller((item + 1) * labels_per_item, n); ++i)
        scored_[i] = {static_cast<float>(vectors_.dot(node[i], direction_.data())), static_cast<uint32_t>(i)};
    });
    if (n >= 1024) return radix_sort(scored_.data(), spare_.data(), n, ~0u, [](const Scored& s) { return s.key(); });
    std::sort(scored_.begin(), scored_.end(), [](const Scored& a, const Scored& b) {
      return a.key() < b.key() || (a.key() == b.key() && a.place < b.place);
    });
    return scored_.data();
  }

  /// The cut between groups with the largest variance between the sides; the middle where there is no variance.
  Cut best_cut(const Scored* sorted) const {
    const auto n = static_cast<int64_t>(scored_.size());
    const int64_t groups = ceil_div(n, group_size_), least = larger(groups / least_share, int64_t{1});
    double all = 0.0, sum = 0.0, most = 0.0;
    for (int64_t i = 0; i < n; ++i) all += sorted[i].score;
    Cut best{groups / 2 * group_size_, 0.0};
    for (int64_t group = 1; group <= groups - least; ++group) {
      const int64_t left = group * group_size_, right = n - left;
      for (int64_t i = left - group_size_; i < left; ++i) sum += sorted[i].score;
      if (group < least) continue;
      // Between the means, along a direction of the same length once settled.
      const double distance = sum / static_cast<double>(left) - (all - sum) / static_cast<double>(right);
      const double gain = static_cast<double>(left) * static_cast<double>(right) / static_cast<double>(n) * distance;
      if (gain * distance <= most) continue;
      most = gain * distance;
      best = {left, gain};
    }
    return best;
  }

  /// @returns whether a label changed sides
  bool take_sides(const Scored* sorted, int64_t left) {
    bool changed = false;
    for (int64_t i = 0; i < static_cast<int64_t>(sides_.size()); ++i) {
      const auto side = static_cast<uint8_t>(i < left);
      changed |= std::exchange(sides_[sorted[i].place], side) != side;
    }
    return changed;
  }

  /// The direction from the mean of the right side to that of the left.
  void point(LabelSpan node, int64_t left) {
    const auto n = static_cast<int64_t>(node.size()), dimensions = vectors_.dimensions();
    const double weights[] = {-1.0 / static_cast<double>(n - left), 1.0 / static_cast<double>(left)};
    const int64_t parts = smaller(ceil_div(n, labels_per_thread), most_parts);
    const auto add_part = [&](int64_t part, double* sum) {
      for (int64_t i = n * part / parts; i < n * (part + 1) / parts; ++i)
        vectors_.add(node[i], weights[sides_[i]], sum);
    };
    if (parts == 1) {
      vectors_.clear(node, direction_.data());
      return add_part(0, direction_.data());
    }
    parts_.assign(static_cast<size_t>(parts * dimensions), 0.0);
    parallel_for(pool_, parts, [&](int64_t part, int) { add_part(part, parts_.data() + part * dimensions); });
    std::copy_n(parts_.begin(), dimensions, direction_.begin());
    for (int64_t part = 1; part < parts; ++part)
      for (int64_t d = 0; d < dimensions; ++d) direction_[d] += parts_[part * dimensions + d];
  }

  /// Moves the labels to the sides of the best attempt, in their old order on either side.
  void part(std::span<uint32_t> node, int64_t left) {
    moved_.resize(node.size());
    int64_t next[] = {left, 0};
    for (size_t i = 0; i < node.size(); ++i) moved_[next[best_sides_[i]]++] = node[i];
    std::copy(moved_.begin(), moved_.end(), node.begin());
  }

  const Vectors& vectors_;
  const std::span<uint32_t> labels_;
  const int64_t group_size_;
  const uint64_t seed_;
  ThreadPool& pool_;
  std::vector<double> direction_;            // [dimensions]; what no label of the node has to do with is stale
  std::vector<double> parts_;                // [parts, dimensions]
  std::vector<Scored> scored_, spare_;       // [labels of the node], as are all below
  std::vector<uint8_t> sides_, best_sides_;  // 1: left
  std::vector<uint32_t> moved_;
};

}  // namespace

template <class Vectors>
void bisect_labels(const Vectors& vectors, std::span<uint32_t> labels, int64_t group_size, uint64_t seed,
                   ThreadPool& pool) {
  using Node = std::pair<int64_t, int64_t>;
  std::vector<Node> shared{{0, static_cast<int64_t>(labels.size())}}, of_one_thread;
  Bisection<Vectors> together(vectors, labels, group_size, seed, pool);
  while (!shared.empty()) {
    const auto [begin, end] = shared.back();
    shared.pop_back();
    if (end - begin <= larger(labels_per_thread, group_size)) {
      of_one_thread.emplace_back(begin, end);
      continue;
    }
    const int64_t middle = together.split(begin, end);
    shared.emplace_back(begin, middle);
    shared.emplace_back(middle, end);
  }
  parallel_for(pool, static_cast<int64_t>(of_one_thread.size()), [&](int64_t item, int) {
    Bisection<Vectors>(vectors, labels, group_size, seed, pool)
        .split_to_groups(of_one_thread[item].first, of_one_thread[item].second);
  });
}

template void bisect_labels(const DenseLabelVectors&, std::span<uint32_t>, int64_t, uint64_t, ThreadPool&);
template void bisect_labels(const SparseLabelVectors&, std::span<uint32_t>, int64_t, uint64_t, ThreadPool&);

}  // namespace sparsexmc

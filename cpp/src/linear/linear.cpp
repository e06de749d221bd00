#include "sparsexmc/linear.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "clustering/label_vectors.h"
#include "integers.h"
#include "layers/positives.h"
#include "layers/sparse_batch.h"
#include "linear/linear_solver.h"
#include "sparsexmc/error.h"
#include "sparsexmc/interrupt.h"
#include "sparsexmc/inverted_index.h"

namespace sparsexmc {
namespace {

constexpr int64_t labels_per_item = 64;
constexpr int64_t rows_between_checks = 4096;   // for interrupts
constexpr int64_t instances_at_a_time = 16384;  // whose hardest labels are searched for
constexpr double mean_threshold = 0.05;         // of a mean vector of length 1, which only picks the first negatives
constexpr int64_t most_rows = std::numeric_limits<uint32_t>::max();
constexpr int64_t most_columns = std::numeric_limits<int32_t>::max();

[[noreturn]] void refuse(const char* name, const std::string& value, const char* remedy) {
  throw ArgumentError(std::string(name) + " is " + value + "; " + remedy);
}

void check(const CsrView& X, const LabelsView& Y, int64_t num_labels, const LinearOptions& options, InstanceSpan held,
           std::span<const float> weights) {
  if (!(options.threshold >= 0.0 && std::isfinite(options.threshold)))
    refuse("threshold", std::to_string(options.threshold), "give a finite number of at least 0");
  if (options.negatives < 1 || options.negatives > most_columns)
    refuse("negatives", std::to_string(options.negatives), "give at least 1 per instance");
  if (num_labels < 1 || num_labels > most_columns)
    refuse("num_labels", std::to_string(num_labels), "it must lie in 1..2147483647");
  if (X.rows > most_rows || X.cols > most_columns)
    throw ArgumentError("X has shape [" + std::to_string(X.rows) + ", " + std::to_string(X.cols) +
                        "]; up to 4294967295 rows and 2147483647 features are possible");
  if (X.rows != Y.rows)
    throw ArgumentError("X has " + std::to_string(X.rows) + " rows and Y " + std::to_string(Y.rows) +
                        "; pass one row of each per instance");
  check_features(X, X.cols);
  check_labels(Y, num_labels);
  for (const int64_t instance : held)
    if (instance < 0 || instance >= X.rows)
      refuse("held", std::to_string(instance), "it must be the number of a row of X");
  if (!weights.empty() && static_cast<int64_t>(weights.size()) != X.rows)
    refuse("the number of instance_weights", std::to_string(weights.size()), "give one per row of X");
  for (const float weight : weights)
    if (!(weight >= 0.0f && std::isfinite(weight)))
      refuse("instance_weights", std::to_string(weight), "give finite numbers of at least 0");
}

/// The rows at unit length, with the smallest integers.
CsrMatrix unit_rows(const CsrView& X) {
  CsrMatrix unit{X.rows, X.cols, {0}, {}, {}};
  const int64_t begin = X.indptr[0], entries = X.indptr[X.rows] - begin;
  unit.indptr.reserve(static_cast<size_t>(X.rows) + 1);
  unit.indices.reserve(static_cast<size_t>(entries));
  unit.values.reserve(static_cast<size_t>(entries));
  for (int64_t row = 0; row < X.rows; ++row) {
    if (row % rows_between_checks == 0) InterruptScope::check();
    double squares = 0.0;
    for (int64_t j = X.indptr[row]; j < X.indptr[row + 1]; ++j)
      squares += static_cast<double>(X.values[j]) * static_cast<double>(X.values[j]);
    if (!std::isfinite(squares))
      throw ArgumentError("X holds NaN or Inf in row " + std::to_string(row) + "; leave such rows out or repair them");
    const double scale = squares > 0.0 ? 1.0 / std::sqrt(squares) : 0.0;
    for (int64_t j = X.indptr[row]; scale > 0.0 && j < X.indptr[row + 1]; ++j) {
      unit.indices.push_back(static_cast<int32_t>(X.indices[j]));
      unit.values.push_back(static_cast<float>(X.values[j] * scale));
    }
    unit.indptr.push_back(static_cast<int64_t>(unit.indices.size()));
  }
  return unit;
}

CsrMatrix copy_of(const LabelsView& Y, int64_t num_labels) {
  CsrMatrix copy{Y.rows, num_labels, {0}, {}, {}};
  copy.indptr.reserve(static_cast<size_t>(Y.rows) + 1);
  copy.indices.reserve(static_cast<size_t>(Y.indptr[Y.rows] - Y.indptr[0]));
  for (int64_t row = 0; row < Y.rows; ++row) {
    if (row % rows_between_checks == 0) InterruptScope::check();
    for (int64_t j = Y.indptr[row]; j < Y.indptr[row + 1]; ++j)
      copy.indices.push_back(static_cast<int32_t>(Y.indices[j]));
    copy.indptr.push_back(static_cast<int64_t>(copy.indices.size()));
  }
  return copy;
}

/// Weights of all labels, written by many workers a block of labels at a time.
class LabelWeights {
 public:
  LabelWeights(int64_t num_labels, int64_t num_features)
      : num_labels_(num_labels),
        num_features_(num_features),
        blocks_(static_cast<size_t>(ceil_div(num_labels, labels_per_item))) {}

  /// solve(label, worker) gives the weights of a label.
  template <class Solve>
  void fill(ThreadPool& pool, const Solve& solve) {
    const int64_t stride = 16 * int64_t{pool.num_threads()};  // blocks between two checks
    for (int64_t first = 0; first < blocks(); first += stride) {
      InterruptScope::check();
      parallel_for(pool, smaller(stride, blocks() - first), [&](int64_t item, int worker) {
        Block& block = blocks_[first + item];
        for (int64_t label = begin(first + item); label < begin(first + item + 1); ++label) {
          const auto weights = solve(label, worker);
          block.weights.insert(block.weights.end(), weights.begin(), weights.end());
          block.ends.push_back(block.weights.size());
        }
        block.weights.shrink_to_fit();
      });
    }
  }

  /// As an inverted index [num_features, num_labels]; the weights are let go on the way.
  CsrMatrix transposed() && {
    CsrMatrix index{num_features_, num_labels_, std::vector<int64_t>(static_cast<size_t>(num_features_) + 1), {}, {}};
    for (const Block& block : blocks_)
      for (const Weight& weight : block.weights) ++index.indptr[weight.feature + 1];
    for (int64_t feature = 0; feature < num_features_; ++feature) index.indptr[feature + 1] += index.indptr[feature];
    index.indices.resize(static_cast<size_t>(index.indptr.back()));
    index.values.resize(static_cast<size_t>(index.indptr.back()));
    std::vector<int64_t> next(index.indptr.begin(), index.indptr.end() - 1);
    for (int64_t b = 0; b < blocks(); ++b) {
      InterruptScope::check();
      const Block block = std::exchange(blocks_[b], {});
      int64_t label = begin(b);
      size_t first = 0;
      for (const size_t end : block.ends) {
        for (size_t i = first; i < end; ++i) {
          const int64_t slot = next[block.weights[i].feature]++;
          index.indices[slot] = static_cast<int32_t>(label);
          index.values[slot] = block.weights[i].value;
        }
        first = end;
        ++label;
      }
    }
    return index;
  }

 private:
  struct Block {
    std::vector<Weight> weights;
    std::vector<size_t> ends;
  };

  int64_t blocks() const { return static_cast<int64_t>(blocks_.size()); }
  int64_t begin(int64_t block) const { return smaller(block * labels_per_item, num_labels_); }

  int64_t num_labels_, num_features_;
  std::vector<Block> blocks_;
};

/// For every label the instances that find it among their hardest, ascending.
class HardNegatives {
 public:
  HardNegatives() = default;
  HardNegatives(const CsrMatrix& X, const CsrMatrix& index, const CsrMatrix& Y, const std::vector<bool>& absent,
                int64_t count, ThreadPool& pool)
      : starts_(static_cast<size_t>(index.cols) + 1) {
    std::vector<int32_t> hardest;
    std::vector<int64_t> ends;
    ends.reserve(static_cast<size_t>(X.rows));
    std::vector<float> products(static_cast<size_t>(instances_at_a_time * count));
    std::vector<int64_t> labels(products.size());
    for (int64_t first = 0; first < X.rows; first += instances_at_a_time) {
      const int64_t rows = smaller(instances_at_a_time, X.rows - first);
      const CsrView queries{rows, X.cols, {X.indptr.data() + first, true}, {X.indices.data(), false}, X.values.data()};
      const LabelsView positives{rows, {Y.indptr.data() + first, true}, {Y.indices.data(), false}};
      largest_products(index.view(), queries, &positives, count, products.data(), labels.data(), pool);
      for (int64_t row = 0; row < rows; ++row) {
        for (int64_t i = row * count; i < (row + 1) * count && labels[i] >= 0 && !absent[first + row]; ++i)
          hardest.push_back(static_cast<int32_t>(labels[i]));
        ends.push_back(static_cast<int64_t>(hardest.size()));
      }
    }
    for (const int32_t label : hardest) ++starts_[label + 1];
    for (size_t label = 1; label < starts_.size(); ++label) starts_[label] += starts_[label - 1];
    instances_.resize(hardest.size());
    std::vector<int64_t> next(starts_.begin(), starts_.end() - 1);
    for (int64_t row = 0, i = 0; row < X.rows; ++row)
      for (; i < ends[row]; ++i) instances_[next[hardest[i]]++] = static_cast<uint32_t>(row);
  }

  std::span<const uint32_t> of(int64_t label) const {
    if (starts_.empty()) return {};
    return {instances_.data() + starts_[label], static_cast<size_t>(starts_[label + 1] - starts_[label])};
  }

 private:
  std::vector<int64_t> starts_;  // [num_labels + 1]
  std::vector<uint32_t> instances_;
};

}  // namespace

struct LinearTraining::Impl {
  Impl(const CsrView& X, const LabelsView& Y, int64_t num_labels, const LinearOptions& chosen, InstanceSpan held,
       ThreadPool& threads, std::span<const float> weights)
      : options(chosen),
        pool(threads),
        rows(unit_rows(X)),
        labels(copy_of(Y, num_labels)),
        positives(Y, num_labels),
        instance_weights(weights.begin(), weights.end()),
        absent(static_cast<size_t>(X.rows)),
        duals(static_cast<size_t>(num_labels)) {
    admit();
    for (const int64_t instance : held) absent[instance] = true;
    for (int worker = 0; worker < pool.num_threads(); ++worker)
      solvers.emplace_back(rows, instance_weights, options.seed);
  }

  /// All but those without weight take part.
  void admit() {
    for (size_t instance = 0; instance < absent.size(); ++instance)
      absent[instance] = !instance_weights.empty() && instance_weights[instance] == 0.0f;
  }

  /// The instances of a label that take part; `kept` is where they lie if some do not.
  std::span<const uint32_t> present(int64_t label, std::vector<uint32_t>& kept) const {
    const auto all = positives.of(label);
    const auto is_absent = [this](uint32_t instance) { return absent[instance]; };
    if (std::ranges::none_of(all, is_absent)) return all;
    kept.clear();
    std::ranges::remove_copy_if(all, std::back_inserter(kept), is_absent);
    return kept;
  }

  /// weights_of(solver, label, positives) of all labels that have any
  template <class WeightsOf>
  CsrMatrix of_all_labels(const WeightsOf& weights_of) {
    LabelWeights all(labels.cols, rows.cols);
    std::vector<std::vector<uint32_t>> kept(solvers.size());
    all.fill(pool, [&](int64_t label, int worker) {
      const auto own = present(label, kept[worker]);
      return own.empty() ? std::span<const Weight>() : weights_of(solvers[worker], label, own);
    });
    return std::move(all).transposed();
  }

  const LinearOptions options;
  ThreadPool& pool;
  const CsrMatrix rows, labels;
  const LabelInstances positives;
  const std::vector<float> instance_weights;  // [N] or empty
  std::vector<bool> absent;                   // [N]
  std::vector<LinearSolver> solvers;
  std::vector<std::vector<Dual>> duals;  // of every label
  HardNegatives negatives;
  CsrMatrix index;
};

LinearTraining::LinearTraining(const CsrView& X, const LabelsView& Y, int64_t num_labels, const LinearOptions& options,
                               InstanceSpan held, ThreadPool& pool, std::span<const float> instance_weights) {
  check(X, Y, num_labels, options, held, instance_weights);
  impl_ = std::make_unique<Impl>(X, Y, num_labels, options, held, pool, instance_weights);
  impl_->index = impl_->of_all_labels(
      [](LinearSolver& solver, int64_t, std::span<const uint32_t> own) { return solver.mean(own, mean_threshold); });
}

LinearTraining::~LinearTraining() = default;

void LinearTraining::search() {
  impl_->negatives =
      HardNegatives(impl_->rows, impl_->index, impl_->labels, impl_->absent, impl_->options.negatives, impl_->pool);
}

void LinearTraining::solve(double cost) {
  if (!(cost > 0.0 && std::isfinite(cost))) refuse("cost", std::to_string(cost), "give a finite number above 0");
  impl_->index = impl_->of_all_labels([&](LinearSolver& solver, int64_t label, std::span<const uint32_t> own) {
    return solver.solve(label, cost, own, impl_->negatives.of(label), impl_->duals[label], impl_->options.threshold);
  });
}

void LinearTraining::admit_held() { impl_->admit(); }

const CsrMatrix& LinearTraining::weights() const { return impl_->index; }

CsrMatrix LinearTraining::take_weights() {
  CsrMatrix taken = std::move(impl_->index);
  impl_.reset();
  return taken;
}

CsrMatrix train_linear(const CsrView& X, const LabelsView& Y, int64_t num_labels, const LinearOptions& options,
                       double cost, int64_t rounds, ThreadPool& pool) {
  if (rounds < 1) refuse("rounds", std::to_string(rounds), "give at least 1");
  LinearTraining training(X, Y, num_labels, options, {}, pool);
  for (int64_t round = 0; round < rounds; ++round) {
    training.search();
    training.solve(cost);
  }
  return training.take_weights();
}

}  // namespace sparsexmc

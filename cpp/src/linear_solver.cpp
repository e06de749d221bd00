#include "linear_solver.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "rng.h"

namespace sparsexmc {
namespace {

constexpr int most_passes = 20;
constexpr double tolerance = 0.1;  // of the projected gradients' range, where margins differ by 2
constexpr double bias = -1.0;

}  // namespace

LinearSolver::LinearSolver(const CsrMatrix& X, double cost, uint64_t seed)
    : rows_(X), slack_(0.5 / cost), seed_(seed), weights_(static_cast<size_t>(X.cols)) {}

std::span<const Weight> LinearSolver::solve(int64_t label, std::span<const uint32_t> positives,
                                            std::span<const uint32_t> negatives, std::vector<Dual>& duals,
                                            double threshold) {
  gather(positives, negatives, duals);
  for (const Example& example : examples_)
    if (example.dual > 0.0) add(example.instance, example.sign * example.dual);
  order_.resize(examples_.size());
  std::iota(order_.begin(), order_.end(), 0u);
  for (int pass = 0; pass < most_passes; ++pass) {
    shuffle(label, pass);
    double most = 0.0, least = 0.0;
    for (const uint32_t i : order_) visit(examples_[i], most, least);
    if (most - least < tolerance) break;
  }
  duals.clear();
  taken_.clear();
  for (const Example& example : examples_) {
    if (example.dual > 0.0) duals.push_back({example.instance, static_cast<float>(example.sign * example.dual)});
    take(example.instance, 1.0, threshold);
  }
  duals.shrink_to_fit();
  return taken_;
}

std::span<const Weight> LinearSolver::mean(std::span<const uint32_t> instances, double threshold) {
  taken_.clear();
  for (const uint32_t instance : instances) add(instance, 1.0);
  double squares = 0.0;
  // |sum|^2 is the sum of every row's product with it.
  for (const uint32_t instance : instances) squares += product(instance);
  const double scale = squares > 0.0 ? 1.0 / std::sqrt(squares) : 0.0;
  for (const uint32_t instance : instances) take(instance, scale, threshold);
  return taken_;
}

/// The examples of a label: its positives, the new negatives, and what carries a dual from the last round.
void LinearSolver::gather(std::span<const uint32_t> positives, std::span<const uint32_t> negatives,
                          std::vector<Dual>& duals) {
  examples_.clear();
  for (const uint32_t instance : positives) examples_.push_back({instance, 1.0, 0.0});
  for (const uint32_t instance : negatives) examples_.push_back({instance, -1.0, 0.0});
  for (const Dual& dual : duals)
    examples_.push_back({dual.instance, dual.value > 0.0f ? 1.0 : -1.0, std::abs(static_cast<double>(dual.value))});
  // The same instance side by side, the one with a dual last; that one stays.
  std::ranges::stable_sort(examples_, {}, &Example::instance);
  size_t distinct = 0;
  for (const Example& example : examples_) {
    if (distinct > 0 && examples_[distinct - 1].instance == example.instance) --distinct;
    examples_[distinct++] = example;
  }
  examples_.resize(distinct);
}

/// One step of coordinate descent, exact for its dual variable.
void LinearSolver::visit(Example& example, double& most, double& least) {
  const double gradient = example.sign * (product(example.instance) + bias) - 1.0 + example.dual * slack_;
  const double projected = example.dual > 0.0 ? gradient : std::min(gradient, 0.0);
  most = std::max(most, projected);
  least = std::min(least, projected);
  if (projected == 0.0) return;
  const bool empty = rows_.indptr[example.instance] == rows_.indptr[example.instance + 1];
  const double dual = std::max(example.dual - gradient / ((empty ? 0.0 : 1.0) + slack_), 0.0);
  add(example.instance, (dual - example.dual) * example.sign);
  example.dual = dual;
}

void LinearSolver::shuffle(int64_t label, int pass) {
  rng::Block block{};
  for (size_t left = order_.size(); left > 1; --left) {
    const auto slot = static_cast<uint32_t>(order_.size() - left);
    if (slot % 4 == 0)
      block =
          rng::draw(seed_, rng::Purpose::shuffle, static_cast<uint64_t>(pass), static_cast<uint64_t>(label), slot / 4);
    std::swap(order_[left - 1], order_[rng::below(block.word[slot % 4], static_cast<uint32_t>(left))]);
  }
}

double LinearSolver::product(uint32_t instance) const {
  double sum = 0.0;
  for (int64_t j = rows_.indptr[instance]; j < rows_.indptr[instance + 1]; ++j)
    sum += weights_[static_cast<size_t>(rows_.indices[j])] * rows_.values[j];
  return sum;
}

void LinearSolver::add(uint32_t instance, double factor) {
  for (int64_t j = rows_.indptr[instance]; j < rows_.indptr[instance + 1]; ++j)
    weights_[static_cast<size_t>(rows_.indices[j])] += factor * rows_.values[j];
}

/// Moves the weights of an instance's features to `taken_` and leaves zeros.
void LinearSolver::take(uint32_t instance, double scale, double threshold) {
  for (int64_t j = rows_.indptr[instance]; j < rows_.indptr[instance + 1]; ++j) {
    const double weight = scale * std::exchange(weights_[static_cast<size_t>(rows_.indices[j])], 0.0);
    if (weight != 0.0 && std::abs(weight) >= threshold)
      taken_.push_back({rows_.indices[j], static_cast<float>(weight)});
  }
}

}  // namespace sparsexmc

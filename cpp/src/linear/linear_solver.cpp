#include "linear/linear_solver.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "rng.h"

namespace sparsexmc {
namespace {

constexpr int most_passes = 20;
constexpr double tolerance = 0.1;  // of the projected gradients' range, where margins differ by 2
constexpr double bias = -1.0;

}  // namespace

LinearSolver::LinearSolver(const CsrMatrix& X, std::span<const float> instance_weights, uint64_t seed)
    : rows_(X), instance_weights_(instance_weights), seed_(seed), weights_(static_cast<size_t>(X.cols)) {}

std::span<const Weight> LinearSolver::solve(int64_t label, double cost, std::span<const uint32_t> positives,
                                            std::span<const uint32_t> negatives, std::vector<Dual>& duals,
                                            double threshold) {
  slack_ = 0.5 / cost;
  gather(positives, negatives, duals);
  for (const Example& example : examples_)
    if (example.dual > 0.0) add(example.instance, example.sign * example.dual);
  descend(label);
  duals.clear();
  taken_.clear();
  for (const Example& example : examples_) {
    const auto dual = static_cast<float>(example.dual);  // that of a tiny weight may become 0, which has no sign
    if (dual > 0.0f) duals.push_back({example.instance, example.sign * dual});
    if (example.has_moved) take(example.instance, 1.0, threshold);
  }
  duals.shrink_to_fit();
  return taken_;
}

std::span<const Weight> LinearSolver::mean(std::span<const uint32_t> instances, double threshold) {
  taken_.clear();
  for (const uint32_t instance : instances) add(instance, weight_of(instance));
  double squares = 0.0;
  // |sum|^2 is the sum of every row's product with it.
  for (const uint32_t instance : instances) squares += weight_of(instance) * product(instance);
  const double scale = squares > 0.0 ? 1.0 / std::sqrt(squares) : 0.0;
  for (const uint32_t instance : instances) take(instance, scale, threshold);
  return taken_;
}

/// The examples of a label: its positives, the new negatives, and what carries a dual from the last round.
void LinearSolver::gather(std::span<const uint32_t> positives, std::span<const uint32_t> negatives,
                          std::vector<Dual>& duals) {
  examples_.clear();
  for (const uint32_t instance : positives) examples_.push_back({instance, 1.0f, 0.0, false});
  for (const uint32_t instance : negatives) examples_.push_back({instance, -1.0f, 0.0, false});
  for (const Dual& dual : duals)
    examples_.push_back(
        {dual.instance, dual.value > 0.0f ? 1.0f : -1.0f, std::abs(static_cast<double>(dual.value)), true});
  // The same instance side by side, the one with a dual last; that one stays.
  std::ranges::stable_sort(examples_, {}, &Example::instance);
  size_t distinct = 0;
  for (const Example& example : examples_) {
    if (distinct > 0 && examples_[distinct - 1].instance == example.instance) --distinct;
    examples_[distinct++] = example;
  }
  examples_.resize(distinct);
}

/// Passes over the examples until no gradient is left to speak of. Examples far beyond the margin rest ("shrinking",
/// Hsieh et al., section 3.2) until the others are done.
void LinearSolver::descend(int64_t label) {
  order_.resize(examples_.size());
  std::iota(order_.begin(), order_.end(), 0u);
  size_t active = order_.size();
  double rest_above = std::numeric_limits<double>::infinity();
  for (int pass = 0; pass < most_passes; ++pass) {
    shuffle(label, pass, active);
    double most = 0.0, least = 0.0;
    for (size_t i = 0; i < active;) {
      Example& example = examples_[order_[i]];
      const bool at_bound = example.dual == 0.0;
      const double gradient = visit(example);
      if (at_bound && gradient > rest_above) {
        std::swap(order_[i], order_[--active]);
        continue;
      }
      const double projected = at_bound ? std::min(gradient, 0.0) : gradient;
      most = std::max(most, projected);
      least = std::min(least, projected);
      ++i;
    }
    rest_above = most > 0.0 ? most : std::numeric_limits<double>::infinity();
    if (most - least >= tolerance) continue;
    if (active == order_.size()) break;
    active = order_.size();
    rest_above = std::numeric_limits<double>::infinity();
  }
}

/// One step of coordinate descent, exact for its dual variable. Returns the gradient before it. A weight multiplies the
/// instance's cost, so it divides what its loss adds to the diagonal.
double LinearSolver::visit(Example& example) {
  const double slack = slack_ / weight_of(example.instance);
  const double gradient = example.sign * (product(example.instance) + bias) - 1.0 + example.dual * slack;
  if (example.dual == 0.0 && gradient >= 0.0) return gradient;
  const bool empty = rows_.indptr[example.instance] == rows_.indptr[example.instance + 1];
  const double dual = std::max(example.dual - gradient / ((empty ? 0.0 : 1.0) + slack), 0.0);
  add(example.instance, (dual - example.dual) * example.sign);
  example.dual = dual;
  example.has_moved = true;
  return gradient;
}

void LinearSolver::shuffle(int64_t label, int pass, size_t active) {
  rng::Block block{};
  for (size_t left = active; left > 1; --left) {
    const auto slot = static_cast<uint32_t>(active - left);
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

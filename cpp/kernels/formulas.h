// The formulas of training, one definition for all devices: sums of losses (each loss is in losses.h), optimizer
// update, rewiring scores. (Rounding is in float16.h, random numbers are in rng.h.) Loops are never shared.
//
// A template takes the arithmetic M of a device: M::Number is float or a vector of floats, and M has what every device
// does in its own way: larger (a > b ? a : b: b if one is NaN), negative_abs, exp_nonpositive, reciprocal, square_root,
// log1p_nonnegative and sum (over the lanes). M also keeps apart what is compiled for different instruction sets.
#pragma once

#include "kernels.h"
#include "losses.h"

namespace sparsexmc::formulas {

using losses::LogitLoss;
using losses::visit_loss;

/// Slope and loss of a logit whose loss is known at run time.
template <class M>
SPARSEXMC_FORMULA LogitLoss<M> logit_loss(Loss loss, typename M::Number z, bool positive, float scale) {
  return visit_loss(loss, [&](auto formula) { return decltype(formula)::template of<M>(z, positive, scale); });
}

/// Sums the losses of many logits without a logarithm for each: a running q with 1 + q = product of (1 + factor), which
/// keeps the relative precision of tiny factors (late in training nearly all are tiny), turned into a logarithm now and
/// then.
template <class M>
class LossSum {
 public:
  using Number = typename M::Number;

  template <class Formula>
  SPARSEXMC_FORMULA void add(const LogitLoss<M>& l) {
    if constexpr (Formula::has_factor) add_factor(l.factor);
    add_term(l.term);
  }
  SPARSEXMC_FORMULA void add(Loss loss, const LogitLoss<M>& l) {
    if (visit_loss(loss, [](auto formula) { return decltype(formula)::has_factor; })) add_factor(l.factor);
    add_term(l.term);
  }
  SPARSEXMC_FORMULA void add_term(Number term) { sum_ = sum_ + term; }
  SPARSEXMC_FORMULA void add(const LossSum& other) {
    add_factor(other.q_);
    add_term(other.sum_);
  }
  /// To be called at least every 64 factors: 1 + factor <= 2, so q stays below 2^64.
  SPARSEXMC_FORMULA void flush() {
    sum_ = sum_ + M::log1p_nonnegative(q_);
    q_ = Number{};
  }
  /// The sum since the last call; starts anew. Totals over many calls belong in fp64.
  SPARSEXMC_FORMULA float drain() {
    flush();
    const float total = M::sum(sum_);
    sum_ = Number{};
    return total;
  }

 private:
  SPARSEXMC_FORMULA void add_factor(Number factor) { q_ = q_ + factor * (1.0f + q_); }

  Number q_ = {};
  Number sum_ = {};
};

/// One update of weights w with gradient g: plain SGD, with momentum, and Adam with decoupled weight decay (Loshchilov
/// and Hutter 2019). `decay` is the weight decay, 0 for biases.
template <class M>
SPARSEXMC_FORMULA void sgd(typename M::Number& w, typename M::Number g, float decay, const kernels::OptimizerStep& o) {
  w = w - o.lr * (g + decay * w);
}
template <class M>
SPARSEXMC_FORMULA void momentum(typename M::Number& w, typename M::Number& velocity, typename M::Number g, float decay,
                                const kernels::OptimizerStep& o) {
  velocity = o.momentum * velocity + (g + decay * w);
  w = w - o.lr * velocity;
}
template <class M>
SPARSEXMC_FORMULA void adam(typename M::Number& w, typename M::Number& m, typename M::Number& v, typename M::Number g,
                            float decay, const kernels::OptimizerStep& o) {
  m = m + (1.0f - o.beta1) * (g - m);
  v = v + (1.0f - o.beta2) * (g * g - v);
  const typename M::Number denominator = M::square_root(v) * o.correction2 + o.eps;
  w = w - o.lr * ((m * o.correction1) / denominator + decay * w);
}

/// One update of a running average with the value w.
template <class M>
SPARSEXMC_FORMULA void running_average(typename M::Number& average, typename M::Number w, float rate) {
  average = average + rate * (w - average);
}

/// Score of a connection in rewiring: mean |w| over the rows of its group, times the root mean square of its feature
/// (Sun et al. 2024).
SPARSEXMC_HD float connection_score(float sum_of_abs, int64_t rows, float feature_scale) {
  return sum_of_abs / static_cast<float>(rows) * feature_scale;
}

}  // namespace sparsexmc::formulas

// The formulas of training, one definition for all devices: loss and its derivative, optimizer update, rewiring scores.
// (Rounding is in float16.h, random numbers are in rng.h.) Loops are never shared.
//
// A template takes the arithmetic M of a device: M::Number is float or a vector of floats, and M has what every device
// does in its own way: larger, negative_abs, exp_nonpositive, reciprocal, square_root, log1p_nonnegative and sum (over
// the lanes). M also keeps apart what is compiled for different instruction sets.
#pragma once

#include "kernels.h"

#if defined(__CUDACC__)
#define SPARSEXMC_FORMULA __device__ __forceinline__  // M is device code
#else
#define SPARSEXMC_FORMULA SPARSEXMC_HD
#endif

namespace sparsexmc::formulas {

/// The loss of one logit: log(1 + factor) + term, with a factor in [0, 1] (0 for losses without a logarithm).
template <class M>
struct LogitLoss {
  typename M::Number slope;  // scale * dloss/dz
  typename M::Number factor;
  typename M::Number term;
};

/// log(1 + e^u) with u = z, or -z for a positive, as log(1 + e^-|z|) + max(u, 0), which never overflows. Its derivative
/// is sigma(u), or -sigma(u).
template <class M>
SPARSEXMC_FORMULA LogitLoss<M> logistic_loss(typename M::Number z, bool positive, float scale) {
  const typename M::Number e = M::exp_nonpositive(M::negative_abs(z)), r = M::reciprocal(1.0f + e);
  const typename M::Number u = positive ? -z : z;
  return {(u > 0.0f ? r : e * r) * (positive ? -scale : scale), e, M::larger(u, typename M::Number{})};
}

/// max(0, 1 + u)^2 with u = z, or -z for a positive.
template <class M>
SPARSEXMC_FORMULA LogitLoss<M> squared_hinge_loss(typename M::Number z, bool positive, float scale) {
  const typename M::Number margin = M::larger(1.0f + (positive ? -z : z), typename M::Number{});
  return {margin * ((positive ? -2.0f : 2.0f) * scale), typename M::Number{}, margin * margin};
}

template <class M>
SPARSEXMC_FORMULA LogitLoss<M> logit_loss(Loss loss, typename M::Number z, bool positive, float scale) {
  return loss == Loss::bce ? logistic_loss<M>(z, positive, scale) : squared_hinge_loss<M>(z, positive, scale);
}

/// Sums the losses of many logits without a logarithm for each: a running q with 1 + q = product of (1 + factor), which
/// keeps the relative precision of tiny factors (late in training nearly all are tiny), turned into a logarithm now and
/// then.
template <class M>
class LossSum {
 public:
  using Number = typename M::Number;

  SPARSEXMC_FORMULA void add(Loss loss, const LogitLoss<M>& l) {
    if (loss == Loss::bce) add_factor(l.factor);
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

/// Score of a connection in rewiring: mean |w| over the rows of its group, times the root mean square of its feature
/// (Sun et al. 2024).
SPARSEXMC_HD float connection_score(float sum_of_abs, int64_t rows, float feature_scale) {
  return sum_of_abs / static_cast<float>(rows) * feature_scale;
}

}  // namespace sparsexmc::formulas

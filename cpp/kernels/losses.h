// The losses: all that the library knows of a loss is in its struct here. Kernels, starting biases, names in
// configurations and words of the model card follow from it.
//
// A new loss takes an enumerator of Loss (sparsexmc/config.h), a struct like these and its case in visit_loss().
#pragma once

#include "integers.h"
#include "sparsexmc/config.h"

#if defined(__CUDACC__)
#define SPARSEXMC_FORMULA __device__ __forceinline__  // M is device code
#else
#define SPARSEXMC_FORMULA SPARSEXMC_HD
#endif

namespace sparsexmc::losses {

/// The loss of one logit: log(1 + factor) + term, with a factor in [0, 1].
/// @tparam M as in formulas.h
template <class M>
struct LogitLoss {
  typename M::Number slope;  // scale * dloss/dz
  typename M::Number factor;
  typename M::Number term;
};

// Every struct has
//   loss                 its enumerator
//   name, words          in configurations and arguments; in model cards
//   normalised           whether a slope depends on the other logits of its instance, through numbers that a first pass
//                        makes. Then the rest is as SoftmaxCrossEntropy has it; else there are
//   best_constant()      the logit of least loss of a label with `present` positives and `absent` negatives, both > 0
//   has_factor           whether LogitLoss::factor is used; without it a sum of losses needs no logarithm
//   has_lossless_logit   whether a negative at `lossless_logit` has neither loss nor slope: what lanes that hold no
//                        instance get. Without such a logit, their results are cleared
//   of()                 slope and loss of a logit
//   positive_slope()     the slope of a positive that of() took for a negative of slope d. A loop may take whole rows
//                        for negatives and then mend the few positives. Adds the difference of the losses to `total`.
//                        `weight` is the factor on the loss of a positive; 1 changes no bit. M::Number is float, and M
//                        also has exp
// The loss of a NaN is NaN, which tells that a training has diverged: larger(0, x) keeps it, larger(x, 0) does not.

/// log(1 + e^u) with u = z, or -z for a positive, as log(1 + e^-|z|) + max(u, 0), which never overflows. Its derivative
/// is sigma(u), or -sigma(u).
struct BinaryCrossEntropy {
  static constexpr Loss loss = Loss::bce;
  static constexpr const char* name = "bce";
  static constexpr const char* words = "binary cross-entropy";
  static constexpr bool normalised = false;
  static constexpr bool has_factor = true;
  static constexpr bool has_lossless_logit = false;

  template <class M>
  static SPARSEXMC_FORMULA LogitLoss<M> of(typename M::Number z, bool positive, float scale) {
    const typename M::Number e = M::exp_nonpositive(M::negative_abs(z)), r = M::reciprocal(1.0f + e);
    const typename M::Number u = positive ? -z : z;
    return {(u > 0.0f ? r : e * r) * (positive ? -scale : scale), e, M::larger(typename M::Number{}, u)};
  }

  template <class M>
  static SPARSEXMC_FORMULA float positive_slope(float z, float d, float scale, float weight, double& total) {
    total -= static_cast<double>(z);  // log(1 + e^-z) = log(1 + e^z) - z
    if (weight != 1.0f) {
      const float own = M::larger(0.0f, -z) + M::log1p_nonnegative(M::exp(z > 0.0f ? -z : z));  // log(1 + e^-z)
      total += (static_cast<double>(weight) - 1.0) * static_cast<double>(own);
    }
    // For large z the subtraction would cancel: -sigma(-z) is exact there.
    return weight * (z > 0.0f ? -scale * (1.0f / (1.0f + M::exp(z))) : d - scale);
  }

  static double best_constant(double present, double absent) { return __builtin_log(present / absent); }
};

/// max(0, 1 + u)^2 with u = z, or -z for a positive.
struct SquaredHinge {
  static constexpr Loss loss = Loss::squared_hinge;
  static constexpr const char* name = "squared_hinge";
  static constexpr const char* words = "squared hinge";
  static constexpr bool normalised = false;
  static constexpr bool has_factor = false;
  static constexpr bool has_lossless_logit = true;
  static constexpr float lossless_logit = -1.0f;

  template <class M>
  static SPARSEXMC_FORMULA LogitLoss<M> of(typename M::Number z, bool positive, float scale) {
    const typename M::Number margin = M::larger(typename M::Number{}, 1.0f + (positive ? -z : z));
    return {margin * ((positive ? -2.0f : 2.0f) * scale), typename M::Number{}, margin * margin};
  }

  template <class M>
  static SPARSEXMC_FORMULA float positive_slope(float z, float /*d*/, float scale, float weight, double& total) {
    const float wrong = M::larger(0.0f, 1.0f + z), right = M::larger(0.0f, 1.0f - z);
    total += static_cast<double>(weight) * right * right - static_cast<double>(wrong) * wrong;
    return weight * (-2.0f * scale * right);
  }

  static double best_constant(double present, double absent) { return (present - absent) / (present + absent); }
};

/// The numbers of an instance that a first pass over all labels makes (kernels::FinishNormaliser), for logits times the
/// scale of the softmax. All but the maximum are 0 where an instance has no loss.
template <class Number>
struct InstanceNormaliser {
  Number maximum;  // of the logits
  Number share;    // p = share exp(z - maximum), times the weight of the instance
  Number target;   // of each of its positives, times the same weight
  Number uniform;  // what label smoothing gives every label, likewise
};

/// Cross-entropy of a softmax with targets: D = p - target - uniform. The loss of an instance is the log of its sum of
/// exponentials, which the first pass adds, and for every logit (target + uniform) (maximum - z). The weights of the
/// positives are those of the classes: they multiply the targets, and smoothing gives every label the same.
struct SoftmaxCrossEntropy {
  static constexpr Loss loss = Loss::softmax;
  static constexpr const char* name = "softmax";
  static constexpr const char* words = "softmax cross-entropy";
  static constexpr bool normalised = true;
  static constexpr bool has_factor = false;

  /// A logit that is no positive, z times the scale of the softmax.
  template <class M>
  static SPARSEXMC_FORMULA LogitLoss<M> of(typename M::Number z, const InstanceNormaliser<typename M::Number>& n,
                                           float scale) {
    using Number = typename M::Number;
    const Number below = z - n.maximum;
    const auto counts = n.share > 0.0f;  // where not, nothing does, whatever the logits
    return {counts ? scale * (n.share * M::exp_nonpositive(below) - n.uniform) : Number{}, Number{},
            counts ? -n.uniform * below : Number{}};
  }

  /// The difference to the slope that the logit is a positive; that to the loss goes into `total`.
  static SPARSEXMC_FORMULA float positive_part(float z, float maximum, float target, float weight, float scale,
                                               double& total) {
    if (!(target > 0.0f)) return 0.0f;
    total += static_cast<double>(weight * target) * (static_cast<double>(maximum) - static_cast<double>(z));
    return -scale * weight * target;
  }

  static double best_constant(double present, double absent) { return __builtin_log(present / (present + absent)); }
};

// What is no loss has no case, and a loss without a case does not compile.
#pragma GCC diagnostic push
#pragma GCC diagnostic error "-Wswitch"

/// Calls body(Struct{}) with the struct of a loss. In a constant expression a number that is no loss gives a zero.
template <class Body>
SPARSEXMC_FORMULA constexpr auto visit_loss(Loss loss, Body&& body) -> decltype(body(BinaryCrossEntropy{})) {
  switch (loss) {
    case Loss::bce:
      return body(BinaryCrossEntropy{});
    case Loss::squared_hinge:
      return body(SquaredHinge{});
    case Loss::softmax:
      return body(SoftmaxCrossEntropy{});
  }
  if (!__builtin_is_constant_evaluated()) __builtin_unreachable();
  return decltype(body(BinaryCrossEntropy{}))();
}

#pragma GCC diagnostic pop

}  // namespace sparsexmc::losses

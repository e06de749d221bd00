// The linear classifier of one label: dual coordinate descent over its positives and chosen negatives.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sparsexmc/csr_matrix.h"

namespace sparsexmc {

/// An instance with its dual variable times its sign: positive for the label's instances, negative for others.
struct Dual {
  uint32_t instance;
  float value;
};

struct Weight {
  int32_t feature;
  float value;
};

/// A worker's scratch; solves one label after another.
class LinearSolver {
 public:
  /// @param X rows of unit length or 0
  /// @param instance_weights [N] > 0 where an instance takes part, or empty: all 1
  LinearSolver(const CsrMatrix& X, std::span<const float> instance_weights, uint64_t seed);

  /// Solves for `label`, beginning at the duals of an earlier time, which may have had another cost C.
  /// @param positives, negatives instances, ascending; disjoint
  /// @param duals in: ascending; out: those that are not 0
  /// @returns the weights of at least `threshold`, valid until the next call
  std::span<const Weight> solve(int64_t label, double cost, std::span<const uint32_t> positives,
                                std::span<const uint32_t> negatives, std::vector<Dual>& duals, double threshold);

  /// The weighted mean of the instances at unit length, what is below `threshold` left out.
  std::span<const Weight> mean(std::span<const uint32_t> instances, double threshold);

 private:
  struct Example {
    uint32_t instance;
    float sign;
    double dual;     // >= 0
    bool has_moved;  // its features may carry weights
  };

  void gather(std::span<const uint32_t> positives, std::span<const uint32_t> negatives, std::vector<Dual>& duals);
  void descend(int64_t label);
  double visit(Example& example);
  double weight_of(uint32_t instance) const { return instance_weights_.empty() ? 1.0 : instance_weights_[instance]; }
  void shuffle(int64_t label, int pass, size_t active);
  double product(uint32_t instance) const;
  void add(uint32_t instance, double factor);
  void take(uint32_t instance, double scale, double threshold);

  const CsrMatrix& rows_;
  const std::span<const float> instance_weights_;
  double slack_ = 0.0;  // 1 / (2 C), what the squared hinge of an instance of weight 1 adds to the diagonal
  uint64_t seed_;
  std::vector<double> weights_;  // [D], 0 between calls
  std::vector<Example> examples_;
  std::vector<uint32_t> order_;
  std::vector<Weight> taken_;
};

}  // namespace sparsexmc

// One-versus-rest linear classifiers on sparse features.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "sparsexmc/csr_matrix.h"
#include "sparsexmc/export.h"
#include "sparsexmc/tensor_view.h"
#include "sparsexmc/thread_pool.h"

namespace sparsexmc {

struct LinearOptions {
  int64_t negatives = 50;  ///< hardest labels per instance that each search adds, >= 1
  double threshold = 0.1;  ///< >= 0; smaller weights are dropped
  uint64_t seed = 0;       ///< of the order in which instances are visited
};

using InstanceSpan = std::span<const int64_t>;

/// For every label the w that minimises |w|^2 / 2 + C sum_i s_i max(0, 1 - y_i m_i)^2 with the margin m = w x - 1, x
/// scaled to unit length, and s the weight of an instance, 1 unless given (the L2-regularised squared hinge, as DiSMEC:
/// Babbar and Schoelkopf, WSDM 2017), by dual coordinate descent (Hsieh et al., ICML 2008). The bias is fixed at -1, so
/// that an instance that shares no feature with a label is beyond the margin by itself and never has to be visited. Of
/// the other negatives each instance meets its hardest: by the labels' mean vectors at first (as SLICE: Jain et al.,
/// WSDM 2019), by their weights later.
///
/// Training alternates between `search` and `solve`, usually a few times. What one has found the next starts from, also
/// at another cost or with more instances. Does not depend on the number of threads. Besides copies of X and Y it holds
/// about 12 * negatives bytes per instance and search.
class SPARSEXMC_API LinearTraining {
 public:
  /// @param X [N, D], finite  @param Y N rows  @param held instances that take no part before `admit_held`
  /// @param instance_weights [N] finite, >= 0, copied; 0 is as absent; empty: all 1
  /// @throws ArgumentError
  LinearTraining(const CsrView& X, const LabelsView& Y, int64_t num_labels, const LinearOptions& options,
                 InstanceSpan held, ThreadPool& pool, std::span<const float> instance_weights = {});
  ~LinearTraining();
  LinearTraining(const LinearTraining&) = delete;
  LinearTraining& operator=(const LinearTraining&) = delete;

  /// Gives every instance its hardest labels by the weights so far.
  void search();

  /// @param cost C > 0, of an instance's loss beside the regulariser  @throws ArgumentError
  void solve(double cost);

  /// From now on all instances take part.
  void admit_held();

  /// [D, num_labels] weights, transposed so that they are an inverted index for largest_products.
  const CsrMatrix& weights() const;
  CsrMatrix take_weights();  ///< moves them out; nothing else may be called then

 private:
  struct SPARSEXMC_HIDDEN Impl;
  std::unique_ptr<Impl> impl_;
};

/// `rounds` >= 1 times search and solve. Throws ArgumentError.
SPARSEXMC_API CsrMatrix train_linear(const CsrView& X, const LabelsView& Y, int64_t num_labels,
                                     const LinearOptions& options, double cost, int64_t rounds, ThreadPool& pool);

}  // namespace sparsexmc

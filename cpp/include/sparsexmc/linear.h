// One-versus-rest linear classifiers on sparse features.
#pragma once

#include <cstdint>
#include <functional>

#include "sparsexmc/csr_matrix.h"
#include "sparsexmc/tensor_view.h"
#include "sparsexmc/thread_pool.h"

namespace sparsexmc {

struct LinearOptions {
  double cost = 0.3;        ///< C > 0, of an instance's loss beside the regulariser
  int64_t negatives = 100;  ///< hardest labels per instance that each round adds, >= 1
  int64_t rounds = 4;       ///< >= 1
  double threshold = 0.1;   ///< >= 0; smaller weights are dropped
  uint64_t seed = 0;        ///< of the order in which instances are visited
};

/// For every label the w that minimises |w|^2 / 2 + C sum_i max(0, 1 - y_i m_i)^2 with the margin m = w x - 1, x scaled
/// to unit length (the L2-regularised squared hinge, as DiSMEC: Babbar and Schoelkopf, WSDM 2017), by dual coordinate
/// descent (Hsieh et al., ICML 2008). The bias is fixed at -1, so that an instance that shares no feature with a label
/// is beyond the margin by itself and never has to be visited. Of the other negatives each instance meets its hardest:
/// by the labels' mean vectors in the first round (as SLICE: Jain et al., WSDM 2019), by their weights in later ones.
///
/// Does not depend on the number of threads. Holds rounds * negatives * N pairs of 12 bytes at its peak.
/// @param X [N, D], finite  @param Y N rows  @param poll called now and then; what it throws ends the work
/// @returns [D, num_labels] weights, transposed so that they are an inverted index for largest_products
/// @throws ArgumentError
CsrMatrix train_linear(const CsrView& X, const LabelsView& Y, int64_t num_labels, const LinearOptions& options,
                       ThreadPool& pool, const std::function<void()>& poll = nullptr);

}  // namespace sparsexmc

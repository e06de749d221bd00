// The optional hidden layer: features -> ReLU -> dropout, over dense embeddings or sparse rows.
#pragma once

#include "buffers.h"
#include "sparse_batch.h"
#include "sparsexmc/config.h"

namespace sparsexmc {

/// Where a batch lies and which randomness it uses.
struct BatchSizes {
  int64_t batch;
  int64_t ldx;
  float dropout;  // 0 at prediction
  uint64_t step;  // keys the dropout mask
};

class HiddenLayer {
 public:
  HiddenLayer(const ClassifierConfig& config, const Buffers& buffers);

  void initialise(Context& context);

  /// ht [units, ldx] from the features xt [features, ldx].
  void forward(Context& context, float* ht, const float* xt, const BatchSizes& sizes) const;
  void forward(Context& context, float* ht, const SparseBatch& batch, const BatchSizes& sizes) const;

  /// Update from dht, which is overwritten. dxt [features, ldx] may be null.
  void backward(Context& context, float* dxt, float* dht, const float* ht, const float* xt, const BatchSizes& sizes,
                const kernels::OptimizerStep& optimizer);
  void backward(Context& context, float* dht, const float* ht, const SparseBatch& batch, const BatchSizes& sizes,
                const kernels::OptimizerStep& optimizer);

 private:
  int64_t features_, units_;
  uint64_t seed_;
  bool sparse_;
  float *weight_, *bias_;
  float *weight_state_[2], *bias_state_[2];
  float *scratch_, *rows_;
};

}  // namespace sparsexmc

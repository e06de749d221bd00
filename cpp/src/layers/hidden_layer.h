// The optional hidden layer: features -> ReLU -> dropout, over dense embeddings or sparse rows.
#pragma once

#include <vector>

#include "layers/batch_sizes.h"
#include "layers/buffers.h"
#include "layers/sparse_batch.h"
#include "layers/tensor_spec.h"
#include "sparsexmc/config.h"

namespace sparsexmc {

struct HiddenTensors {
  TensorSpec weight;  // [in_features, units]
  TensorSpec bias;    // [units]

  std::vector<TensorSpec> list() const { return {weight, bias}; }
};
/// @param config with a hidden layer
HiddenTensors hidden_tensors(const ClassifierConfig& config);

class HiddenLayer {
 public:
  /// @param compute dtype of what it reads and gives  @param trainable false: there will be no backward()
  HiddenLayer(const ClassifierConfig& config, const Buffers& buffers, DType compute, bool trainable);

  void initialise(Context& context);

  /// As OutputLayer.
  void find_averages(const Buffers& buffers);
  void use_averages(bool use) { averages_in_use_ = use; }

  /// ht [units, ldx] from the features xt [features, ldx].
  void forward(Context& context, void* ht, const void* xt, const BatchSizes& sizes) const;
  void forward(Context& context, void* ht, const SparseBatch& batch, const BatchSizes& sizes) const;

  /// Update from dht, which is overwritten, unless `optimizer` is null. dxt [features, ldx] may be null.
  void backward(Context& context, float* dxt, float* dht, const void* ht, const void* xt, const BatchSizes& sizes,
                const kernels::OptimizerStep* optimizer);
  void backward(Context& context, float* dht, const void* ht, const SparseBatch& batch, const BatchSizes& sizes,
                const kernels::OptimizerStep& optimizer);

 private:
  /// Weight and bias as predictions and evaluations read them.
  float* predicting_weight() const { return averages_in_use_ ? average_weight_ : weight_; }
  float* predicting_bias() const { return averages_in_use_ ? average_bias_ : bias_; }

  const HiddenTensors tensors_;
  int64_t features_, units_;
  uint64_t seed_;
  double initial_scale_;
  bool sparse_;
  DType compute_;
  float *weight_, *bias_;
  float *average_weight_ = nullptr, *average_bias_ = nullptr;  // null: there are none
  bool averages_in_use_ = false;
  StoredTensor weight_state_[2], bias_state_[2];
  void* scratch_;
  float* rows_;
};

}  // namespace sparsexmc

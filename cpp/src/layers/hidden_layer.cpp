#include "layers/hidden_layer.h"

#include <cmath>

#include "device/visit_device.h"
#include "layers/optimizer_state.h"

namespace sparsexmc {

namespace {

template <class Params>
void set_state(Params& p, const StoredTensor (&weight)[2], const StoredTensor (&bias)[2]) {
  for (int i = 0; i < 2; ++i) {
    p.weight_state[i] = weight[i];
    p.bias_state[i] = bias[i];
  }
}

template <class Params>
void set_sizes(Params& p, const BatchSizes& sizes, DType compute) {
  p.compute = compute;
  p.batch = sizes.batch;
  p.ldx = sizes.ldx;
  p.dropout = sizes.dropout;
}

}  // namespace

HiddenTensors hidden_tensors(const ClassifierConfig& config) {
  const int64_t units = config.hidden->features;
  return {{"hidden.weight", DType::float32, {config.in_features, units}, Layout::plain, Role::trained},
          {"hidden.bias", DType::float32, {units}, Layout::plain, Role::trained}};
}

HiddenLayer::HiddenLayer(const ClassifierConfig& config, const Buffers& buffers, DType compute, bool trainable)
    : tensors_(hidden_tensors(config)),
      features_(config.in_features),
      units_(config.hidden->features),
      seed_(config.seed),
      initial_scale_(config.hidden->initial_scale),
      sparse_(config.sparse_input),
      compute_(compute),
      scratch_(buffers.find<void>("scratch.hidden")),
      rows_(buffers.find<float>("batch.rows")) {
  weight_ = buffers.get<float>(tensors_.weight.name);
  bias_ = buffers.get<float>(tensors_.bias.name);
  if (!trainable) return;
  find_state(buffers, config.optimizer, tensors_.weight, weight_state_);
  find_state(buffers, config.optimizer, tensors_.bias, bias_state_);
  find_averages(buffers);
}

void HiddenLayer::find_averages(const Buffers& buffers) {
  average_weight_ = buffers.find<float>(average_of(tensors_.weight).name);
  average_bias_ = buffers.find<float>(average_of(tensors_.bias).name);
  averages_in_use_ = false;
}

void HiddenLayer::initialise(Context& context) {
  kernels::InitHidden p;
  p.weight = weight_;
  p.bias = bias_;
  p.features = features_;
  p.units = units_;
  // He et al. 2015 for dense inputs of unit variance. A sparse row of unit length meets few weights, whatever the
  // number of columns: the same output variance needs a bound that does not shrink with it.
  const double bound = sparse_ ? 0.1 : std::sqrt(6.0 / static_cast<double>(features_));
  p.bound = static_cast<float>(initial_scale_ * bound);
  p.seed = seed_;
  visit_device(context.device(), [&](auto device) { kernels::init_hidden(device, context, p); });
}

void HiddenLayer::forward(Context& context, void* ht, const void* xt, const BatchSizes& sizes) const {
  kernels::HiddenForward p;
  p.ht = ht;
  p.weight = predicting_weight();
  p.bias = predicting_bias();
  p.xt = xt;
  p.scratch = scratch_;
  p.features = features_;
  p.units = units_;
  p.seed = seed_;
  p.step = sizes.step;
  set_sizes(p, sizes, compute_);
  visit_device(context.device(), [&](auto device) { kernels::hidden_forward(device, context, p); });
}

void HiddenLayer::forward(Context& context, void* ht, const SparseBatch& batch, const BatchSizes& sizes) const {
  kernels::SparseHiddenForward p;
  p.ht = ht;
  p.rows_scratch = rows_;
  p.weight = predicting_weight();
  p.bias = predicting_bias();
  p.indptr = batch.row_starts;
  p.columns = batch.columns;
  p.values = batch.values;
  p.units = units_;
  p.seed = seed_;
  p.step = sizes.step;
  set_sizes(p, sizes, compute_);
  visit_device(context.device(), [&](auto device) { kernels::sparse_hidden_forward(device, context, p); });
}

void HiddenLayer::backward(Context& context, float* dxt, float* dht, const void* ht, const void* xt,
                           const BatchSizes& sizes, const kernels::OptimizerStep* optimizer) {
  kernels::HiddenBackward p;
  p.dxt = dxt;
  p.dht = dht;
  p.weight = predicting_weight();  // a step ends the use of averages
  p.bias = optimizer != nullptr ? bias_ : nullptr;
  set_state(p, weight_state_, bias_state_);
  p.scratch = scratch_;
  p.ht = ht;
  p.xt = xt;
  p.features = features_;
  p.units = units_;
  p.skip = sizes.skip;
  set_sizes(p, sizes, compute_);
  if (optimizer != nullptr) p.optimizer = *optimizer;
  visit_device(context.device(), [&](auto device) { kernels::hidden_backward(device, context, p); });
}

void HiddenLayer::backward(Context& context, float* dht, const void* ht, const SparseBatch& batch,
                           const BatchSizes& sizes, const kernels::OptimizerStep& optimizer) {
  kernels::SparseHiddenBackward p;
  p.dht = dht;
  p.rows_scratch = rows_;
  p.weight = weight_;
  p.bias = bias_;
  set_state(p, weight_state_, bias_state_);
  p.ht = ht;
  p.entries = batch.by_feature;
  p.runs = batch.feature_runs;
  p.num_runs = batch.runs;
  p.units = units_;
  set_sizes(p, sizes, compute_);
  p.optimizer = optimizer;
  visit_device(context.device(), [&](auto device) { kernels::sparse_hidden_backward(device, context, p); });
}

}  // namespace sparsexmc

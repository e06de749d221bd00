#include "layers/fan_in_layer.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <string>

#include "device/device_pieces.h"
#include "device/visit_device.h"
#include "layers/optimizer_state.h"
#include "layers/regrouping.h"
#include "layers/segment_tensors.h"
#include "sparsexmc/error.h"

namespace sparsexmc {

namespace {

/// SPARSEXMC_LABEL_TILE overrides the number of labels that a kernel handles together; tests use it to show that the
/// results do not depend on it.
int64_t label_tile_override() {
  const char* text = std::getenv("SPARSEXMC_LABEL_TILE");
  return text == nullptr ? 0 : std::max<int64_t>(0, std::strtoll(text, nullptr, 10));
}

}  // namespace

FanInLayer::FanInLayer(const ClassifierConfig& config, Context& context, Buffers& buffers, DType compute,
                       bool trainable)
    : config_(config),
      context_(context),
      buffers_(buffers),
      compute_(compute),
      trainable_(trainable),
      shapes_(segment_shapes(config)),
      labels_(config, context, buffers),
      topk_scratch_(buffers.find<void>("scratch.topk")),
      label_tile_(label_tile_override()) {
  int number = 0;
  for (const SegmentShape& shape : shapes_) add_segment(shape, number++);
  // A step's gradients lie where a prediction has its biases: neither outlives the call.
  weighted_biases_ = buffers.get<float>(trainable ? "batch.gradients" : "topk.biases");
  if (trainable) {
    if (config.auxiliary) add_segment(*auxiliary_shape(config), -1);
    find_training_buffers();
    find_averages();
  }
  visit_device(context.device(), [&](auto tag) {
    const kernels::Machine machine = kernels::machine(tag, context.device(), context.threads().num_threads());
    const auto labels = static_cast<int64_t>(shapes_.size());
    topk_lists_ = kernels::topk_sizes(tag, machine, segments_.data(), labels, config.batch_size).lists;
  });
}

void FanInLayer::add_segment(const SegmentShape& shape, int number) {
  const SegmentTensors tensors = segment_tensors(config_, shape, number);
  kernels::Segment s = segment_sizes(shape, config_.weight_dtype);
  s.weights.data = buffers_.get<void>(tensors.weights.name);
  s.bias = buffers_.get<float>(tensors.bias.name);
  if (tensors.indices) s.indices = buffers_.get<void>(tensors.indices->name);
  if (trainable_) {
    find_state(buffers_, config_.optimizer, tensors.weights, s.weight_state);
    find_state(buffers_, config_.optimizer, tensors.bias, s.bias_state);
    if (tensors.positive_weights) s.positive_weights = buffers_.get<float>(tensors.positive_weights->name);
  }
  segments_.push_back(s);
}

void FanInLayer::find_averages() {
  averaged_.clear();
  averages_in_use_ = false;
  for (size_t i = 0; i < segments_.size(); ++i) {
    const bool of_labels = i < shapes_.size();
    const SegmentTensors tensors = segment_tensors(config_, of_labels ? shapes_[i] : *auxiliary_shape(config_),
                                                   of_labels ? static_cast<int>(i) : -1);
    segments_[i].weight_average.data = buffers_.find<void>(average_of(tensors.weights).name);
    if (!config_.average) continue;
    kernels::Segment& averaged = averaged_.emplace_back(segments_[i]);
    averaged.weights = averaged.weight_average;
    averaged.bias = buffers_.get<float>(average_of(tensors.bias).name);
  }
}

void FanInLayer::find_training_buffers() {
  gradients_ = buffers_.get<float>("batch.gradients");
  losses_ = buffers_.get<double>("batch.losses");
  step_scratch_ = buffers_.find<void>("scratch.step");
  rewiring_scratch_ = buffers_.find<void>("scratch.rewiring");
  if (is_normalised(config_.loss))
    normaliser_.emplace(config_, context_, buffers_, compute_, segments_, shapes_.size());
  visit_device(context_.device(), [&](auto tag) {
    const kernels::Machine machine = kernels::machine(tag, context_.device(), context_.threads().num_threads());
    const auto sizes = kernels::step_sizes(tag, machine, segments_.data(), static_cast<int64_t>(segments_.size()),
                                           config_.batch_size, compute_);
    parts_ = sizes.parts;
    losses_per_sum_ = sizes.losses;
    largest_ldx_ = kernels::leading_dimension(tag, config_.batch_size);
  });
}

void FanInLayer::initialise() {
  for (size_t i = 0; i < segments_.size(); ++i) {
    kernels::InitSegment p;
    p.segment = segments_[i];
    p.bound = static_cast<float>(1.0 / std::sqrt(static_cast<double>(segments_[i].fan_in)));
    p.bias = i < shapes_.size() ? static_cast<float>(config_.initial_bias.value) : 0.0f;
    p.seed = config_.seed;
    p.segment_number = static_cast<uint32_t>(i);
    visit_device(context_.device(), [&](auto device) { kernels::init_segment(device, context_, p); });
  }
}

void FanInLayer::write_rows(float* to, const SegmentShape& shape, const std::vector<float>& values) {
  const uint32_t* ids = labels_.ids() + shape.first_row;
  write_in_pieces(context_, to, shape.rows, sizeof(float), [&](void* piece, int64_t first, int64_t rows) {
    for (int64_t row = 0; row < rows; ++row) static_cast<float*>(piece)[row] = values[ids[first + row]];
  });
}

void FanInLayer::set_biases(const std::vector<float>& biases) {
  for (size_t i = 0; i < shapes_.size() && !biases.empty(); ++i) write_rows(segments_[i].bias, shapes_[i], biases);
}

void FanInLayer::set_positive_weights(const std::vector<float>& weights) {
  for (size_t i = 0; i < shapes_.size() && !weights.empty(); ++i)
    write_rows(segments_[i].positive_weights, shapes_[i], weights);
}

std::vector<SegmentPositives> FanInLayer::stage(const LabelsView& labels) {
  return sort_positives(buffers_, "batch.positives", labels, labels_.rows(), shapes_);
}

kernels::FanInStep FanInLayer::common_step(const OutputBatch& batch, const kernels::OptimizerStep* optimizer) const {
  kernels::FanInStep p;
  p.dx_parts = gradients_;
  p.scratch = step_scratch_;
  p.xt = batch.inputs;
  p.compute = compute_;
  p.instance_weights = batch.instance_weights;
  p.batch = batch.sizes.batch;
  p.ldx = batch.sizes.ldx;
  p.parts = parts_;
  p.label_tile = label_tile_;
  p.update = optimizer != nullptr;
  if (optimizer != nullptr) p.optimizer = *optimizer;
  p.seed = config_.seed;
  p.step = batch.sizes.step;
  p.skip = batch.sizes.skip;
  return p;
}

void FanInLayer::normalise(const OutputBatch& batch) {
  if (!normaliser_) return;
  normaliser_->make(normaliser_->numbers(), loss_offset(), averages_in_use_ ? averaged_ : segments_, batch.positives,
                    batch.inputs, batch.instance_weights, batch.sizes);
}

void FanInLayer::step(const OutputBatch& batch, const kernels::OptimizerStep* optimizer) {
  for (size_t i = 0; i < shapes_.size(); ++i) {
    kernels::FanInStep p = common_step(batch, optimizer);
    p.loss_parts = losses_;
    p.segment = optimizer != nullptr ? segments_[i] : predicting(i);
    p.positives = batch.positives[i].data;
    p.num_positives = batch.positives[i].count;
    p.zero_dx = p.zero_loss = i == 0;
    p.loss = config_.loss;
    p.normaliser = normaliser_ ? normaliser_->numbers() : nullptr;
    p.logit_scale = static_cast<float>(config_.softmax.scale);
    p.first_row = shapes_[i].first_row;
    visit_device(context_.device(), [&](auto device) { kernels::fan_in_step(device, context_, p); });
  }
  if (!batch.auxiliary) return;
  kernels::FanInStep p = common_step(batch, optimizer);
  p.loss_parts = losses_ + losses_per_sum_;
  p.segment = segments_.back();
  p.positives = batch.auxiliary->positives.data;
  p.num_positives = batch.auxiliary->positives.count;
  p.zero_dx = false;
  p.loss_scale = batch.auxiliary->weight;
  p.first_row = config_.num_labels;  // its rounding draws as rows after the labels would
  visit_device(context_.device(), [&](auto device) { kernels::fan_in_step(device, context_, p); });
}

float* FanInLayer::reduce(const OutputBatch& batch, const LossSums& losses) {
  kernels::ReduceParts p;
  p.dx_parts = gradients_;
  p.loss = losses.loss;
  p.loss_parts = losses_;
  if (normaliser_) p.loss_offset = loss_offset();
  p.auxiliary_loss = batch.auxiliary ? losses.auxiliary : nullptr;
  p.auxiliary_parts = losses_ + losses_per_sum_;
  p.in_features = config_.layer_features();
  p.batch = batch.sizes.batch;
  p.ldx = batch.sizes.ldx;
  p.parts = parts_;
  p.compute = compute_;
  p.skip = batch.sizes.skip;
  visit_device(context_.device(), [&](auto device) { kernels::reduce_parts(device, context_, p); });
  return gradients_;
}

void FanInLayer::weigh_labels(const float* weights) {
  float* weighted = weighted_biases_;
  for (size_t i = 0; i < shapes_.size(); ++i) {
    const uint32_t* labels = labels_.ids() + shapes_[i].first_row;
    read_in_pieces(context_, predicting(i).bias, shapes_[i].rows, sizeof(float),
                   [&](const void* biases, int64_t first, int64_t rows) {
                     write_in_pieces(context_, weighted + first, rows, sizeof(float), [&](void* to, int64_t, int64_t) {
                       for (int64_t row = 0; row < rows; ++row)
                         static_cast<float*>(to)[row] =
                             static_cast<const float*>(biases)[row] + std::log(weights[labels[first + row]]);
                     });
                   });
    weighted += shapes_[i].padded_rows();
  }
}

void FanInLayer::topk(float* scores, int64_t* ids, const void* inputs, const BatchSizes& sizes, int64_t k,
                      bool weighted) {
  // On a GPU a smaller batch has more lists per instance, within what the largest needs.
  const int64_t listed = context_.device().kind == DeviceKind::cpu ? sizes.batch : config_.batch_size;
  auto* lists = buffers_.at_least<kernels::Candidate>("topk.candidates", topk_lists_ * listed * k);
  float* bias = weighted_biases_;
  for (size_t i = 0; i < shapes_.size(); ++i) {
    kernels::TopK p;
    p.lists = lists;
    p.segment = predicting(i);
    if (weighted) p.segment.bias = bias;
    bias += shapes_[i].padded_rows();
    p.scratch = topk_scratch_;
    p.xt = inputs;
    p.compute = compute_;
    p.labels = labels_.device_ids() + shapes_[i].first_row;
    p.batch = sizes.batch;
    p.ldx = sizes.ldx;
    p.k = k;
    p.first = i == 0;
    visit_device(context_.device(), [&](auto device) { kernels::topk(device, context_, p); });
  }
  const kernels::TopKMerge merge{scores, ids, lists, topk_lists_, sizes.batch, k};
  visit_device(context_.device(), [&](auto device) { kernels::topk_merge(device, context_, merge); });
}

void FanInLayer::rewire(std::vector<RewiringRecord>& records,
                        const std::vector<std::vector<kernels::KeptBatch>>& batches, int64_t step, double fraction) {
  const bool by_gradient = config_.rewiring->method == RewiringMethod::rigl;
  // All before the first segment changes.
  const std::vector<std::vector<kernels::KeptBatch>> kept =
      normaliser_ && by_gradient ? normaliser_->of_kept(segments_, batches) : batches;
  for (size_t i = 0; i < shapes_.size(); ++i) {
    if (shapes_[i].dense) continue;
    RewiringRecord record{step, static_cast<int>(i), 0, 0.0, 0.0};
    kernels::RewireStep p;
    p.changed = &record.changed;
    p.score_dropped = &record.score_dropped;
    p.score_grown = &record.score_grown;
    p.segment = segments_[i];
    p.scratch = rewiring_scratch_;
    p.kept = kept[i].data();
    p.num_kept = static_cast<int64_t>(kept[i].size());
    p.ldx = largest_ldx_;
    p.compute = compute_;
    p.method = config_.rewiring->method;
    p.scope = config_.rewiring->scope;
    p.loss = config_.loss;
    p.logit_scale = static_cast<float>(config_.softmax.scale);
    p.fraction = fraction;
    p.seed = config_.seed;
    p.step = static_cast<uint64_t>(step);
    p.segment_number = static_cast<uint32_t>(i);
    visit_device(context_.device(), [&](auto device) { kernels::rewire_step(device, context_, p); });
    records.push_back(record);
  }
}

int FanInLayer::tail() const {
  for (size_t i = 0; i < shapes_.size(); ++i)
    if (!shapes_[i].dense) return static_cast<int>(i);
  throw ArgumentError("every label of this classifier is dense, so there are no groups; give it a fan_in");
}

RegroupableRows FanInLayer::regroupable_rows() const {
  const SegmentShape& shape = shapes_[tail()];
  const SegmentTensors tensors = segment_tensors(config_, shape, tail());
  return {shape.first_row, shape.group_size, sparse_rows({context_, buffers_, shape, tensors})};
}

void FanInLayer::regroup(const int64_t* order) {
  const SegmentShape& shape = shapes_[tail()];
  labels_.check(order);
  for (int64_t row = 0; row < shape.first_row; ++row)
    if (order[row] != labels_.ids()[row])
      throw ArgumentError("label_order: " + std::to_string(order[row]) + " at position " + std::to_string(row) +
                          ", where the dense label " + std::to_string(labels_.ids()[row]) +
                          " is; begin with the dense labels as they are");
  std::vector<int64_t> from(static_cast<size_t>(shape.rows));
  for (int64_t row = 0; row < shape.rows; ++row)
    from[row] = labels_.rows()[order[shape.first_row + row]] - shape.first_row;
  regroup_rows({context_, buffers_, shape, segment_tensors(config_, shape, tail())}, config_, from);
  labels_.set(order);
}

}  // namespace sparsexmc

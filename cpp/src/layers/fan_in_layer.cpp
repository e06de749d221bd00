#include "layers/fan_in_layer.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "device/device_pieces.h"
#include "device/visit_device.h"
#include "layers/optimizer_state.h"

namespace sparsexmc {

namespace {

/// SPARSEXMC_LABEL_TILE overrides the number of labels that a kernel handles together; tests use it to show that the
/// results do not depend on it.
int64_t label_tile_override() {
  const char* text = std::getenv("SPARSEXMC_LABEL_TILE");
  return text == nullptr ? 0 : std::max<int64_t>(0, std::strtoll(text, nullptr, 10));
}

/// A number for every label of a segment. @param values by user label id  @param ids internal row -> user id
void write_rows(Context& context, float* to, const SegmentShape& shape, const std::vector<float>& values,
                const uint32_t* ids) {
  write_in_pieces(context, to, shape.rows, sizeof(float), [&](void* piece, int64_t first, int64_t rows) {
    for (int64_t row = 0; row < rows; ++row)
      static_cast<float*>(piece)[row] = values[ids[shape.first_row + first + row]];
  });
}

}  // namespace

FanInLayer::FanInLayer(const ClassifierConfig& config, Context& context, const Buffers& buffers, DType compute)
    : config_(config),
      shapes_(segment_shapes(config)),
      compute_(compute),
      gradients_(buffers.get<float>("batch.gradients")),
      losses_(buffers.get<double>("batch.losses")),
      step_scratch_(buffers.get<void>("scratch.step")),
      topk_scratch_(buffers.get<void>("scratch.topk")),
      rewiring_scratch_(buffers.get<void>("scratch.rewiring")),
      label_tile_(label_tile_override()) {
  const auto add_segment = [&](const SegmentShape& shape) {
    kernels::Segment s = segment_sizes(shape, config.weight_dtype);
    s.weights.data = buffers.get<void>(shape.name + ".weights");
    s.bias = buffers.get<float>(shape.name + ".bias");
    s.indices = buffers.get<void>(shape.name + ".indices");
    find_state(buffers, config.optimizer, shape.name + ".weights", s.weight_state);
    find_state(buffers, config.optimizer, shape.name + ".bias", s.bias_state);
    s.positive_weights = buffers.get<float>(shape.name + ".positive_weights");
    segments_.push_back(s);
  };
  for (const SegmentShape& shape : shapes_) add_segment(shape);
  if (config.auxiliary) add_segment(*auxiliary_shape(config));
  visit_device(context.device(), [&](auto tag) {
    const kernels::Machine machine = kernels::machine(tag, context.device(), context.threads().num_threads());
    const auto count = static_cast<int64_t>(segments_.size()), labels = static_cast<int64_t>(shapes_.size());
    const auto sizes = kernels::step_sizes(tag, machine, segments_.data(), count, config.batch_size, compute);
    parts_ = sizes.parts;
    losses_per_sum_ = sizes.losses;
    topk_lists_ = kernels::topk_sizes(tag, machine, segments_.data(), labels, config.batch_size).lists;
    largest_ldx_ = kernels::leading_dimension(tag, config.batch_size);
  });
}

void FanInLayer::initialise(Context& context) {
  for (size_t i = 0; i < segments_.size(); ++i) {
    kernels::InitSegment p;
    p.segment = segments_[i];
    p.bound = static_cast<float>(1.0 / std::sqrt(static_cast<double>(segments_[i].fan_in)));
    p.bias = i < shapes_.size() ? static_cast<float>(config_.initial_bias.value) : 0.0f;
    p.seed = config_.seed;
    p.segment_number = static_cast<uint32_t>(i);
    visit_device(context.device(), [&](auto device) { kernels::init_segment(device, context, p); });
  }
}

void FanInLayer::set_biases(Context& context, const std::vector<float>& biases, const uint32_t* ids) {
  for (size_t i = 0; i < shapes_.size() && !biases.empty(); ++i)
    write_rows(context, segments_[i].bias, shapes_[i], biases, ids);
}

void FanInLayer::set_positive_weights(Context& context, const std::vector<float>& weights, const uint32_t* ids) {
  for (size_t i = 0; i < shapes_.size() && !weights.empty(); ++i)
    write_rows(context, segments_[i].positive_weights, shapes_[i], weights, ids);
}

kernels::FanInStep FanInLayer::common_step(const void* xt, const BatchSizes& sizes,
                                           const kernels::OptimizerStep* optimizer) const {
  kernels::FanInStep p;
  p.dx_parts = gradients_;
  p.scratch = step_scratch_;
  p.xt = xt;
  p.compute = compute_;
  p.batch = sizes.batch;
  p.ldx = sizes.ldx;
  p.parts = parts_;
  p.label_tile = label_tile_;
  p.update = optimizer != nullptr;
  if (optimizer != nullptr) p.optimizer = *optimizer;
  p.seed = config_.seed;
  p.step = sizes.step;
  p.skip = sizes.skip;
  return p;
}

float* FanInLayer::step(Context& context, double* loss, double* auxiliary_loss, const void* xt,
                        const std::vector<SegmentPositives>& positives, const std::optional<AuxiliaryStep>& auxiliary,
                        const BatchSizes& sizes, const kernels::OptimizerStep* optimizer) {
  double* auxiliary_losses = losses_ + losses_per_sum_;
  for (size_t i = 0; i < shapes_.size(); ++i) {
    kernels::FanInStep p = common_step(xt, sizes, optimizer);
    p.loss_parts = losses_;
    p.segment = segments_[i];
    p.positives = positives[i].data;
    p.num_positives = positives[i].count;
    p.zero_dx = p.zero_loss = i == 0;
    p.loss = config_.loss;
    p.first_row = shapes_[i].first_row;
    visit_device(context.device(), [&](auto device) { kernels::fan_in_step(device, context, p); });
  }
  if (auxiliary) {
    kernels::FanInStep p = common_step(xt, sizes, optimizer);
    p.loss_parts = auxiliary_losses;
    p.segment = segments_.back();
    p.positives = auxiliary->positives.data;
    p.num_positives = auxiliary->positives.count;
    p.zero_dx = false;
    p.loss_scale = auxiliary->weight;
    p.first_row = config_.num_labels;  // its rounding draws as rows after the labels would
    visit_device(context.device(), [&](auto device) { kernels::fan_in_step(device, context, p); });
  }
  kernels::ReduceParts p;
  p.dx_parts = gradients_;
  p.loss = loss;
  p.loss_parts = losses_;
  p.auxiliary_loss = auxiliary ? auxiliary_loss : nullptr;
  p.auxiliary_parts = auxiliary_losses;
  p.in_features = config_.layer_features();
  p.batch = sizes.batch;
  p.ldx = sizes.ldx;
  p.parts = parts_;
  p.compute = compute_;
  p.skip = sizes.skip;
  visit_device(context.device(), [&](auto device) { kernels::reduce_parts(device, context, p); });
  return gradients_;
}

void FanInLayer::weigh_labels(Context& context, const float* weights, const uint32_t* ids) {
  float* weighted = gradients_;
  for (size_t i = 0; i < shapes_.size(); ++i) {
    const uint32_t* labels = ids + shapes_[i].first_row;
    read_in_pieces(context, segments_[i].bias, shapes_[i].rows, sizeof(float),
                   [&](const void* biases, int64_t first, int64_t rows) {
                     write_in_pieces(context, weighted + first, rows, sizeof(float), [&](void* to, int64_t, int64_t) {
                       for (int64_t row = 0; row < rows; ++row)
                         static_cast<float*>(to)[row] =
                             static_cast<const float*>(biases)[row] + std::log(weights[labels[first + row]]);
                     });
                   });
    weighted += shapes_[i].padded_rows();
  }
}

void FanInLayer::topk(Context& context, float* scores, int64_t* ids, kernels::Candidate* lists, const void* xt,
                      const uint32_t* label_order, const BatchSizes& sizes, int64_t k, bool weighted) const {
  float* bias = gradients_;
  for (size_t i = 0; i < shapes_.size(); ++i) {
    kernels::TopK p;
    p.lists = lists;
    p.segment = segments_[i];
    if (weighted) p.segment.bias = bias;
    bias += shapes_[i].padded_rows();
    p.scratch = topk_scratch_;
    p.xt = xt;
    p.compute = compute_;
    p.labels = label_order + shapes_[i].first_row;
    p.batch = sizes.batch;
    p.ldx = sizes.ldx;
    p.k = k;
    p.first = i == 0;
    visit_device(context.device(), [&](auto device) { kernels::topk(device, context, p); });
  }
  const kernels::TopKMerge merge{scores, ids, lists, topk_lists_, sizes.batch, k};
  visit_device(context.device(), [&](auto device) { kernels::topk_merge(device, context, merge); });
}

void FanInLayer::rewire(Context& context, std::vector<RewiringRecord>& records,
                        const std::vector<std::vector<kernels::KeptBatch>>& kept, int64_t step) {
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
    p.fraction = config_.rewiring->fraction_at(step);
    p.seed = config_.seed;
    p.step = static_cast<uint64_t>(step);
    p.segment_number = static_cast<uint32_t>(i);
    visit_device(context.device(), [&](auto device) { kernels::rewire_step(device, context, p); });
    records.push_back(record);
  }
}

}  // namespace sparsexmc

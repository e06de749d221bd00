#include "layers/fan_in_layer.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "layers/optimizer_state.h"
#include "visit_device.h"

namespace sparsexmc {

namespace {

/// SPARSEXMC_LABEL_TILE overrides the number of labels that a kernel handles together; tests use it to show that the
/// results do not depend on it.
int64_t label_tile_override() {
  const char* text = std::getenv("SPARSEXMC_LABEL_TILE");
  return text == nullptr ? 0 : std::max<int64_t>(0, std::strtoll(text, nullptr, 10));
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
  for (const SegmentShape& shape : shapes_) {
    kernels::Segment s = segment_sizes(shape, config.weight_dtype);
    s.weights = buffers.get<void>(shape.name + ".weights");
    s.bias = buffers.get<float>(shape.name + ".bias");
    s.indices = buffers.get<void>(shape.name + ".indices");
    find_state(buffers, config.optimizer, shape.name + ".weights", s.weight_state);
    find_state(buffers, config.optimizer, shape.name + ".bias", s.bias_state);
    segments_.push_back(s);
  }
  visit_device(context.device(), [&](auto tag) {
    const kernels::Machine machine = kernels::machine(tag, context.device(), context.threads().num_threads());
    const auto count = static_cast<int64_t>(segments_.size());
    parts_ = kernels::step_sizes(tag, machine, segments_.data(), count, config.batch_size, compute).parts;
    topk_lists_ = kernels::topk_sizes(tag, machine, segments_.data(), count, config.batch_size).lists;
    largest_ldx_ = kernels::leading_dimension(tag, config.batch_size);
  });
}

void FanInLayer::initialise(Context& context) {
  for (size_t i = 0; i < segments_.size(); ++i) {
    kernels::InitSegment p;
    p.segment = segments_[i];
    p.bound = static_cast<float>(1.0 / std::sqrt(static_cast<double>(shapes_[i].fan_in)));
    p.bias = static_cast<float>(config_.initial_bias);
    p.seed = config_.seed;
    p.segment_number = static_cast<uint32_t>(i);
    visit_device(context.device(), [&](auto device) { kernels::init_segment(device, context, p); });
  }
}

float* FanInLayer::step(Context& context, double* loss, const void* xt, const std::vector<SegmentPositives>& positives,
                        const BatchSizes& sizes, const kernels::OptimizerStep& optimizer) {
  for (size_t i = 0; i < segments_.size(); ++i) {
    kernels::FanInStep p;
    p.dx_parts = gradients_;
    p.loss_parts = losses_;
    p.segment = segments_[i];
    p.scratch = step_scratch_;
    p.xt = xt;
    p.compute = compute_;
    p.positives = positives[i].data;
    p.num_positives = positives[i].count;
    p.batch = sizes.batch;
    p.ldx = sizes.ldx;
    p.parts = parts_;
    p.label_tile = label_tile_;
    p.zero_dx = i == 0;
    p.loss = config_.loss;
    p.optimizer = optimizer;
    p.first_row = shapes_[i].first_row;
    p.seed = config_.seed;
    p.step = sizes.step;
    p.skip = sizes.skip;
    visit_device(context.device(), [&](auto device) { kernels::fan_in_step(device, context, p); });
  }
  kernels::ReduceParts p;
  p.dx_parts = gradients_;
  p.loss = loss;
  p.loss_parts = losses_;
  p.in_features = config_.layer_features();
  p.batch = sizes.batch;
  p.ldx = sizes.ldx;
  p.parts = parts_;
  p.compute = compute_;
  p.skip = sizes.skip;
  visit_device(context.device(), [&](auto device) { kernels::reduce_parts(device, context, p); });
  return gradients_;
}

void FanInLayer::topk(Context& context, float* scores, int64_t* ids, kernels::Candidate* lists, const void* xt,
                      const uint32_t* label_order, const BatchSizes& sizes, int64_t k) const {
  for (size_t i = 0; i < segments_.size(); ++i) {
    kernels::TopK p;
    p.lists = lists;
    p.segment = segments_[i];
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
  for (size_t i = 0; i < segments_.size(); ++i) {
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

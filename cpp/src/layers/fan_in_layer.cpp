#include "layers/fan_in_layer.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>

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

FanInLayer::FanInLayer(const ClassifierConfig& config, const Buffers& buffers, std::vector<SegmentShape> shapes)
    : config_(config),
      shapes_(std::move(shapes)),
      gradients_(buffers.get<float>("batch.gradients")),
      step_scratch_(buffers.get<float>("scratch.step")),
      topk_scratch_(buffers.get<float>("scratch.topk")),
      losses_(buffers.get<double>("batch.losses")),
      rewiring_scratch_(buffers.get<void>("scratch.rewiring")),
      parts_(dx_parts(config)),
      label_tile_(label_tile_override()) {
  for (const SegmentShape& shape : shapes_) {
    kernels::Segment s;
    s.weights = buffers.get<float>(shape.name + ".weights");
    s.bias = buffers.get<float>(shape.name + ".bias");
    s.indices = buffers.get<void>(shape.name + ".indices");
    s.wide_indices = shape.wide_indices;
    find_state(buffers, config.optimizer, shape.name + ".weights", s.weight_state);
    find_state(buffers, config.optimizer, shape.name + ".bias", s.bias_state);
    s.rows = shape.rows;
    s.groups = shape.groups;
    s.group_size = shape.group_size;
    s.fan_in = shape.fan_in;
    s.in_features = shape.in_features;
    segments_.push_back(s);
  }
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

double FanInLayer::step(Context& context, float*& dx, const float* xt, const std::vector<SegmentPositives>& positives,
                        int64_t batch, int64_t ldx, const kernels::OptimizerStep& optimizer) {
  std::fill_n(losses_, parts_, 0.0);
  for (size_t i = 0; i < segments_.size(); ++i) {
    kernels::FanInStep p;
    p.dx_parts = gradients_;
    p.loss_parts = losses_;
    p.segment = segments_[i];
    p.scratch = step_scratch_;
    p.xt = xt;
    p.positives = positives[i].data;
    p.num_positives = positives[i].count;
    p.batch = batch;
    p.ldx = ldx;
    p.parts = parts_;
    p.label_tile = label_tile_;
    p.zero_dx = i == 0;
    p.loss = config_.loss;
    p.optimizer = optimizer;
    visit_device(context.device(), [&](auto device) { kernels::fan_in_step(device, context, p); });
  }
  const kernels::ReduceParts p{gradients_, parts_, config_.layer_features(), ldx};
  visit_device(context.device(), [&](auto device) { kernels::reduce_parts(device, context, p); });
  dx = gradients_;
  double loss = 0.0;
  for (int64_t i = 0; i < parts_; ++i) loss += losses_[i];
  return loss;
}

void FanInLayer::topk(Context& context, float* scores, int64_t* ids, kernels::Candidate* lists, const float* xt,
                      const uint32_t* label_order, int64_t batch, int64_t ldx, int64_t k) const {
  const int64_t workers = context.threads().num_threads();
  std::fill_n(lists, workers * batch * k,
              kernels::Candidate{-std::numeric_limits<float>::infinity(), std::numeric_limits<uint32_t>::max()});
  for (size_t i = 0; i < segments_.size(); ++i) {
    kernels::TopK p;
    p.lists = lists;
    p.segment = segments_[i];
    p.scratch = topk_scratch_;
    p.xt = xt;
    p.labels = label_order + shapes_[i].first_row;
    p.batch = batch;
    p.ldx = ldx;
    p.k = k;
    visit_device(context.device(), [&](auto device) { kernels::topk(device, context, p); });
  }
  kernels::TopKMerge merge{scores, ids, lists, workers, batch, k};
  visit_device(context.device(), [&](auto device) { kernels::topk_merge(device, context, merge); });
}

void FanInLayer::rewire(Context& context, std::vector<RewiringRecord>& records,
                        const std::vector<std::vector<kernels::KeptBatch>>& kept, int64_t ldx, int64_t step) {
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
    p.ldx = ldx;
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

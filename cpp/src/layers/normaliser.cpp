#include "layers/normaliser.h"

#include "device/visit_device.h"

namespace sparsexmc {

Normaliser::Normaliser(const ClassifierConfig& config, Context& context, Buffers& buffers, DType compute,
                       const std::vector<kernels::Segment>& segments, size_t count)
    : config_(config),
      context_(context),
      compute_(compute),
      statistics_(buffers.get<float>("batch.statistics")),
      numbers_(buffers.get<float>(normaliser_name)),
      kept_(buffers.find<float>(kept_normalisers_name)),
      scratch_(buffers.find<void>("scratch.normalise")) {
  visit_device(context.device(), [&](auto tag) {
    const kernels::Machine machine = kernels::machine(tag, context.device(), context.threads().num_threads());
    parts_ =
        kernels::normalise_sizes(tag, machine, segments.data(), static_cast<int64_t>(count), config.batch_size, compute)
            .parts;
    largest_ldx_ = kernels::leading_dimension(tag, config.batch_size);
  });
}

std::vector<std::vector<kernels::KeptBatch>> Normaliser::of_kept(
    const std::vector<kernels::Segment>& segments, std::vector<std::vector<kernels::KeptBatch>> kept) const {
  for (size_t i = 0; i < kept[0].size(); ++i) {
    const kernels::KeptBatch& batch = kept[0][i];
    std::vector<SegmentPositives> positives;
    for (const std::vector<kernels::KeptBatch>& of_segment : kept)
      positives.push_back({nullptr, of_segment[i].num_positives, of_segment[i].positives});
    float* numbers = kept_ + static_cast<int64_t>(i) * 4 * largest_ldx_;
    make(numbers, nullptr, segments, positives, batch.xt, batch.instance_weights,
         {.batch = batch.batch, .ldx = batch.ldx});
    for (std::vector<kernels::KeptBatch>& of_segment : kept) of_segment[i].normaliser = numbers;
  }
  return kept;
}

void Normaliser::make(float* to, double* loss, const std::vector<kernels::Segment>& segments,
                      const std::vector<SegmentPositives>& positives, const void* inputs, const float* instance_weights,
                      const BatchSizes& sizes) const {
  for (size_t i = 0; i < positives.size(); ++i) {
    kernels::Normalise p;
    p.statistics = statistics_;
    p.segment = segments[i];
    p.scratch = scratch_;
    p.xt = inputs;
    p.compute = compute_;
    p.positives = positives[i].data;
    p.num_positives = positives[i].count;
    p.batch = sizes.batch;
    p.ldx = sizes.ldx;
    p.parts = parts_;
    p.logit_scale = static_cast<float>(config_.softmax.scale);
    p.first = i == 0;
    visit_device(context_.device(), [&](auto device) { kernels::normalise(device, context_, p); });
  }
  kernels::FinishNormaliser p;
  p.normaliser = to;
  p.loss = loss;
  p.statistics = statistics_;
  p.instance_weights = instance_weights;
  p.batch = sizes.batch;
  p.ldx = sizes.ldx;
  p.parts = parts_;
  p.label_smoothing = config_.softmax.label_smoothing;
  p.z_loss = config_.softmax.z_loss;
  p.labels = config_.num_labels;
  visit_device(context_.device(), [&](auto device) { kernels::finish_normaliser(device, context_, p); });
}

}  // namespace sparsexmc

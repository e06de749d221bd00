// Making a classifier, and where its training stands.
#include "sparsexmc/classifier.h"

#include <cmath>
#include <string>

#include "device/dtypes.h"
#include "device/visit_device.h"
#include "model/classifier_impl.h"
#include "model/label_data.h"

namespace sparsexmc {

Classifier::Impl::Impl(const ClassifierConfig& wanted, const LabelData& given, bool restored)
    : config(wanted),
      memory_plan(plan(config)),
      context(std::make_unique<Context>(Device::parse(config.device), config.num_threads, config.memory_limit)),
      compute(choose_compute_dtype(config, context->device())),
      stored(choose_stored_dtype(compute, context->device())),
      buffers(*context, memory_plan),
      output(config, *context, buffers, compute),
      kept(config, *context, buffers, stored),
      labels(config, *context, buffers),
      results(*context),
      inputs(buffers.get<void>("batch.inputs")),
      features(config.hidden ? buffers.get<void>("batch.features") : inputs),
      outcome(buffers.get<StepOutcome>("batch.outcome")) {
  const DeviceGuard guard(context->device());
  labels.initialise(given.order, given.counts);
  if (config.num_instances > 0) {
    counts.emplace("label_counts", config.num_labels, *context, buffers);
    for (int64_t label = 0; label < config.num_labels; ++label)
      counts->data()[label] = restored ? 0 : static_cast<uint32_t>(given.counts[label]);
  }
  if (config.auxiliary) {
    clusters.emplace(config, *context, buffers);
    clusters->initialise(given.clusters, labels.rows());
  }
  visit_device(context->device(), [&](auto tag) {
    for (const MemoryEntry& entry : memory_plan.entries)
      if (entry.name.starts_with("optimizer."))
        kernels::fill_zero(tag, *context, buffers.get<void>(entry.name), entry.bytes);
  });
  output.initialise(*context);
  if (!restored) {
    const std::vector<float> weights = positive_weights(config, given);
    output.set_positive_weights(*context, weights, labels.ids());
    output.set_biases(*context, starting_biases(config, given, weights), labels.ids());
  }
  if (config.hidden) {
    hidden.emplace(config, buffers, stored);
    hidden->initialise(*context);
  }
  progress.lr = config.optimizer.lr();
}

Classifier::Classifier(const ClassifierConfig& config, const LabelData& labels) {
  config.check();
  check_label_data(config, labels);
  impl_ = std::make_unique<Impl>(config, labels, false);
}
Classifier::Classifier(const ClassifierConfig& config, Restored)
    : impl_(std::make_unique<Impl>(config, LabelData{}, true)) {}
Classifier::~Classifier() = default;
Classifier::Classifier(Classifier&&) noexcept = default;
Classifier& Classifier::operator=(Classifier&&) noexcept = default;

const ClassifierConfig& Classifier::config() const { return impl_->config; }
Context& Classifier::context() { return *impl_->context; }
const MemoryPlan& Classifier::memory_plan() const { return impl_->memory_plan; }
DType Classifier::compute_dtype() const { return impl_->compute; }
double Classifier::lr() const { return impl_->progress.lr; }

Progress Classifier::progress() const {
  return impl_->run([&] {
    impl_->settle(true);
    Progress progress = impl_->progress;
    progress.kept = impl_->kept.sizes();
    return progress;
  });
}

void Classifier::set_lr(double lr) {
  if (!(lr >= 0.0) || !std::isfinite(lr))
    throw ArgumentError("lr is " + std::to_string(lr) + "; it must be finite and >= 0");
  impl_->progress.lr = lr;
}

void Classifier::set_progress(const Progress& progress) {
  if (progress.step < 0 || progress.skipped < 0) throw ArgumentError("progress: step and skipped must be >= 0");
  const std::optional<Rewiring>& rewiring = impl_->config.rewiring;
  const size_t most = rewiring ? static_cast<size_t>(rewiring->kept_batches()) : 0;
  if (progress.kept.size() > most)
    throw ArgumentError("progress: " + std::to_string(progress.kept.size()) + " kept batches, but at most " +
                        std::to_string(most) + " fit (rewiring.grow_batches)");
  for (const KeptBatchSize& kept : progress.kept)
    if (kept.batch < 1 || kept.batch > impl_->config.batch_size || kept.positives < 0)
      throw ArgumentError("progress: a kept batch of " + std::to_string(kept.batch) + " rows and " +
                          std::to_string(kept.positives) + " positives; rows must lie in 1..batch_size");
  impl_->run([&] {
    impl_->settle(true);
    set_lr(progress.lr);
    impl_->kept.restore(progress.kept);
    impl_->progress = progress;
  });
}

}  // namespace sparsexmc

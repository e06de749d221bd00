// Making a classifier, and where its training stands.
#include "sparsexmc/classifier.h"

#include <string>
#include <utility>

#include "model/arguments.h"
#include "model/classifier_impl.h"
#include "model/label_data.h"

namespace sparsexmc {

Classifier::Classifier(const ClassifierConfig& config, const LabelData& labels, std::shared_ptr<Context> context) {
  config.check();
  check_label_data(config, labels);
  impl_ = std::make_unique<Impl>(config, Model::Origin{.labels = labels, .context = std::move(context)});
}
Classifier::Classifier(const ClassifierConfig& config, const Restored& how)
    : impl_(std::make_unique<Impl>(
          config, Model::Origin{.restored = true, .trainable = how.trainable, .context = how.context})) {}
Classifier::~Classifier() = default;
Classifier::Classifier(Classifier&&) noexcept = default;
Classifier& Classifier::operator=(Classifier&&) noexcept = default;

const ClassifierConfig& Classifier::config() const { return impl_->model.config; }
Context& Classifier::context() { return *impl_->model.context; }
const MemoryPlan& Classifier::memory_plan() const { return impl_->model.memory_plan; }
bool Classifier::trainable() const { return impl_->model.trainable; }
DType Classifier::compute_dtype() const { return impl_->model.compute; }
double Classifier::lr() const { return impl_->model.progress.lr; }

Progress Classifier::progress() const {
  return impl_->run_settled([&] {
    Progress progress = impl_->model.progress;
    if (impl_->trainer) progress.kept = impl_->trainer->kept().sizes();
    return progress;
  });
}

void Classifier::set_lr(double lr) {
  impl_->training("setting lr");
  check_lr(lr);
  impl_->model.progress.lr = lr;
}

double Classifier::momentum() const { return impl_->model.momentum; }

void Classifier::set_momentum(double momentum) {
  impl_->training("setting momentum");
  if (!(momentum >= 0.0 && static_cast<float>(momentum) < 1.0f))
    throw ArgumentError("momentum is " + std::to_string(momentum) + "; it must lie in [0, 1)");
  const OptimizerConfig& optimizer = config().optimizer;
  if (optimizer.kind == OptimizerKind::sgd && optimizer.sgd.momentum == 0.0 && momentum != 0.0)
    throw ArgumentError("momentum is " + std::to_string(momentum) +
                        ", but the classifier was made with SGD without momentum, which keeps no state for it; make it "
                        "with the momentum");
  impl_->model.momentum = momentum;
}

void Classifier::set_total_steps(int64_t steps) {
  impl_->training("setting total_steps");
  check_total_steps(steps);
  impl_->run_settled([&] {
    // Batches were kept for the next rewiring, which now comes at another step or not at all.
    if (steps != impl_->model.progress.total_steps) impl_->trainer->kept().clear();
    impl_->model.progress.total_steps = steps;
  });
}

void Classifier::set_progress(const Progress& progress) {
  if (progress.step < 0 || progress.skipped < 0) throw ArgumentError("progress: step and skipped must be >= 0");
  check_lr(progress.lr);
  check_total_steps(progress.total_steps);
  const std::optional<Rewiring>& rewiring = config().rewiring;
  const size_t most = rewiring && trainable() ? static_cast<size_t>(rewiring->kept_batches()) : 0;
  if (progress.kept.size() > most)
    throw ArgumentError("progress: " + std::to_string(progress.kept.size()) + " kept batches, but at most " +
                        std::to_string(most) + " fit (rewiring.grow_batches)");
  if (progress.averaged < 0 || (progress.average_in_use && progress.averaged == 0))
    throw ArgumentError("progress: averaged must be >= 0, and > 0 where averages are in use");
  if (progress.averaged > 0 && !(config().average && trainable()))
    throw ArgumentError("progress: averaged is " + std::to_string(progress.averaged) +
                        ", but the classifier keeps no averages; configure average");
  for (const KeptBatchSize& kept : progress.kept)
    if (kept.batch < 1 || kept.batch > config().batch_size || kept.positives < 0)
      throw ArgumentError("progress: a kept batch of " + std::to_string(kept.batch) + " rows and " +
                          std::to_string(kept.positives) + " positives; rows must lie in 1..batch_size");
  impl_->run_settled([&] {
    if (impl_->trainer) impl_->trainer->kept().restore(progress.kept);
    impl_->model.progress = progress;
    if (impl_->trainer) impl_->trainer->use_average(progress.average_in_use);
  });
}

void Classifier::use_average(bool use) {
  Trainer& trainer = impl_->averaging("use_average");
  impl_->run_settled([&] { trainer.use_average(use); });
}

void Classifier::start_average(const WeightAverage& average) {
  Trainer& trainer = impl_->training("start_average");
  if (config().average)
    throw ArgumentError("start_average: the classifier keeps a running average already; end it with stop_average");
  ClassifierConfig wanted = config();
  wanted.average = average;
  wanted.check();
  impl_->run_settled([&] { trainer.start_average(average); });
}

void Classifier::stop_average(bool keep) {
  Trainer& trainer = impl_->averaging("stop_average");
  impl_->run_settled([&] { trainer.stop_average(keep); });
}

}  // namespace sparsexmc

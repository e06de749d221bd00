// The order of things in a training step.
#include <cmath>
#include <string>
#include <utility>

#include "device/visit_device.h"
#include "model/arguments.h"
#include "model/classifier_impl.h"

namespace sparsexmc {

kernels::OptimizerStep Classifier::Impl::optimizer_step() const {
  kernels::OptimizerStep o;
  o.kind = config.optimizer.kind;
  o.lr = static_cast<float>(progress.lr * config.schedule.factor(progress.step));
  if (o.kind == OptimizerKind::adam) {
    const Adam& adam = config.optimizer.adam;
    const double t = static_cast<double>(progress.step + 1);
    o.weight_decay = static_cast<float>(adam.weight_decay);
    o.beta1 = static_cast<float>(adam.beta1);
    o.beta2 = static_cast<float>(adam.beta2);
    o.eps = static_cast<float>(adam.eps);
    o.correction1 = static_cast<float>(1.0 / (1.0 - std::pow(adam.beta1, t)));
    o.correction2 = static_cast<float>(1.0 / std::sqrt(1.0 - std::pow(adam.beta2, t)));
  } else {
    o.weight_decay = static_cast<float>(config.optimizer.sgd.weight_decay);
    o.momentum = static_cast<float>(config.optimizer.sgd.momentum);
  }
  return o;
}

bool Classifier::Impl::settle_one(bool wait) {
  StepResults::Step step;
  const StepResults::Settled settled = results.settle(wait, step);
  if (settled == StepResults::Settled::nonfinite) {
    --progress.step;
    if (step.kept) kept.forget_last();
    refuse_nonfinite(step.on_nonfinite, "embeddings of step call " + std::to_string(step.ticket));
    ++progress.skipped;
  }
  return settled != StepResults::Settled::none;
}

template <class Forward, class Backward>
int64_t Classifier::Impl::start(const LabelsView& batch_labels, int64_t batch, OnNonfinite on_nonfinite,
                                Forward&& forward, Backward&& backward) {
  settle(false);
  while (results.full()) settle_one(true);
  // A kept batch of a pending step is the last one kept, and the count of steps is right where batches are kept.
  if (kept.wanted(progress.step + 1)) settle(true);
  const bool keep = kept.wanted(progress.step + 1);

  // Until the first kernel that updates, whatever fails leaves the model as it was: all memory is taken here.
  BatchSizes sizes{batch, leading_dimension(batch)};
  if (config.hidden) sizes.dropout = static_cast<float>(config.hidden->dropout);
  sizes.step = static_cast<uint64_t>(progress.step);
  if (!on_cpu() && !config.sparse_input) sizes.skip = &outcome->nonfinite;
  const auto positives = sort_positives(buffers, "batch.positives", batch_labels, labels.rows(), output.shapes());
  std::optional<AuxiliaryStep> auxiliary;
  if (clusters) auxiliary = clusters->stage(batch_labels, progress.step);
  if (keep) kept.reserve(positives);
  if (!on_cpu()) results.reserve();
  visit_device(context->device(), [&](auto tag) { kernels::fill_zero(tag, *context, outcome, sizeof *outcome); });
  if (!forward(std::as_const(sizes))) {
    ++progress.skipped;
    return results.add(StepResult{.skipped = true});
  }

  const kernels::OptimizerStep optimizer = optimizer_step();
  float* dx =
      output.step(*context, &outcome->loss, &outcome->auxiliary_loss, inputs, positives, auxiliary, sizes, &optimizer);
  backward(std::as_const(sizes), dx, optimizer);
  ++progress.step;
  if (keep) kept.keep(inputs, batch, sizes.ldx, positives, output.shapes(), labels);
  const auto instances = static_cast<double>(batch);
  const int64_t ticket = on_cpu() ? results.add(StepResult{.loss = outcome->loss / instances,
                                                           .auxiliary_loss = outcome->auxiliary_loss / instances})
                                  : results.add({.batch = batch, .on_nonfinite = on_nonfinite, .kept = keep}, outcome);
  rewire_if_due(sizes);
  return ticket;
}

void Classifier::Impl::rewire_if_due(const BatchSizes& last) {
  const int64_t step = progress.step;
  if (!config.rewiring || !config.rewiring->due(step)) return;
  settle(true);
  if (progress.step != step) return;  // a skipped batch has put it off
  // Without kept batches the features' scales are those of the last one.
  const kernels::KeptBatch inputs_only{inputs, nullptr, 0, last.batch, last.ldx};
  output.rewire(*context, progress.rewirings,
                config.rewiring->kept_batches() > 0 ? kept.sorted(labels, output.shapes())
                                                    : std::vector(output.shapes().size(), std::vector{inputs_only}),
                step);
  kept.clear();
  results.set_rewired();
}

bool Classifier::Impl::forward(const TensorView& embeddings, OnNonfinite on_nonfinite, const BatchSizes& sizes) {
  gather(embeddings, 0, sizes);
  if (on_cpu() && outcome->nonfinite != 0) {
    refuse_nonfinite(on_nonfinite, "embeddings");
    return false;
  }
  if (hidden) hidden->forward(*context, inputs, features, sizes);
  return true;
}

void Classifier::Impl::backward(const TensorView* gradient, const BatchSizes& sizes, float* dx,
                                const kernels::OptimizerStep* optimizer) {
  const float* out = dx;
  if (hidden) {
    float* dxt = gradient != nullptr ? buffers.get<float>("batch.feature_gradients") : nullptr;
    hidden->backward(*context, dxt, dx, inputs, features, sizes, optimizer);
    out = dxt;
  }
  if (gradient == nullptr) return;
  const kernels::ScatterColumns p{gradient->data, out,       gradient->dtype, sizes.batch,
                                  gradient->cols, sizes.ldx, sizes.skip,      input_scale()};
  visit_device(context->device(), [&](auto tag) { kernels::scatter_columns(tag, *context, p); });
}

int64_t Classifier::start_step(const TensorView& embeddings, const LabelsView& labels, const TensorView* gradient,
                               OnNonfinite on_nonfinite) {
  Impl& m = *impl_;
  check_dense_step(embeddings, labels, gradient, m.config, m.context->device());
  const auto forward = [&](const BatchSizes& sizes) { return m.forward(embeddings, on_nonfinite, sizes); };
  const auto backward = [&](const BatchSizes& sizes, float* dx, const kernels::OptimizerStep& optimizer) {
    m.backward(gradient, sizes, dx, &optimizer);
  };
  return m.run([&] { return m.start(labels, embeddings.rows, on_nonfinite, forward, backward); });
}

StepResult Classifier::Impl::evaluate(const TensorView& embeddings, const LabelsView& batch_labels,
                                      const TensorView* gradient, OnNonfinite on_nonfinite, bool dropout) {
  settle(true);
  BatchSizes sizes{embeddings.rows, leading_dimension(embeddings.rows)};
  if (config.hidden && dropout) sizes.dropout = static_cast<float>(config.hidden->dropout);
  sizes.step = static_cast<uint64_t>(progress.step);
  if (!on_cpu()) sizes.skip = &outcome->nonfinite;
  const auto positives = sort_positives(buffers, "batch.positives", batch_labels, labels.rows(), output.shapes());
  visit_device(context->device(), [&](auto tag) { kernels::fill_zero(tag, *context, outcome, sizeof *outcome); });
  if (!forward(embeddings, on_nonfinite, sizes)) return StepResult{.skipped = true};
  float* dx =
      output.step(*context, &outcome->loss, &outcome->auxiliary_loss, inputs, positives, std::nullopt, sizes, nullptr);
  if (gradient != nullptr) backward(gradient, sizes, dx, nullptr);
  StepOutcome seen;
  visit_device(context->device(), [&](auto tag) { kernels::read_device(tag, *context, &seen, outcome, sizeof seen); });
  if (seen.nonfinite != 0) {
    refuse_nonfinite(on_nonfinite, "embeddings");
    return StepResult{.skipped = true};
  }
  return StepResult{.loss = seen.loss / static_cast<double>(embeddings.rows)};
}

StepResult Classifier::eval_step(const TensorView& embeddings, const LabelsView& labels, const TensorView* gradient,
                                 OnNonfinite on_nonfinite, bool dropout) {
  Impl& m = *impl_;
  check_dense_step(embeddings, labels, gradient, m.config, m.context->device());
  return m.run([&] { return m.evaluate(embeddings, labels, gradient, on_nonfinite, dropout); });
}

int64_t Classifier::start_step(const CsrView& features, const LabelsView& labels, OnNonfinite on_nonfinite) {
  Impl& m = *impl_;
  check_sparse(features, m.config);
  check_batch(features.rows, labels.rows, m.config.batch_size);
  check_labels(labels, m.config.num_labels);
  SparseBatch batch{};
  const auto forward = [&](const BatchSizes& sizes) {
    batch = stage_features(m.buffers, features, 0, sizes.batch, m.input_scale(), true);
    if (!batch.finite) {
      refuse_nonfinite(on_nonfinite, "features");
      return false;
    }
    m.hidden->forward(*m.context, m.inputs, batch, sizes);
    return true;
  };
  const auto backward = [&](const BatchSizes& sizes, float* dx, const kernels::OptimizerStep& optimizer) {
    m.hidden->backward(*m.context, dx, m.inputs, batch, sizes, optimizer);
  };
  return m.run([&] { return m.start(labels, features.rows, on_nonfinite, forward, backward); });
}

StepResult Classifier::finish_step(int64_t ticket) {
  Impl& m = *impl_;
  return m.run([&] {
    while (m.results.oldest_pending() != 0 && m.results.oldest_pending() <= ticket) m.settle_one(true);
    return m.results.result(ticket);
  });
}

StepResult Classifier::train_step(const TensorView& embeddings, const LabelsView& labels, const TensorView* gradient,
                                  OnNonfinite on_nonfinite) {
  return finish_step(start_step(embeddings, labels, gradient, on_nonfinite));
}

StepResult Classifier::train_step(const CsrView& features, const LabelsView& labels, OnNonfinite on_nonfinite) {
  return finish_step(start_step(features, labels, on_nonfinite));
}

}  // namespace sparsexmc

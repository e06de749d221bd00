#include "model/trainer.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "model/arguments.h"
#include "model/inventory.h"

namespace sparsexmc {

Trainer::Trainer(Model& model, const LabelData& labels)
    : m_(model),
      averages_(*m_.context, m_.buffers, m_.tensors),
      kept_(m_.config, *m_.context, m_.buffers, m_.stored),
      results_(*m_.context) {
  const DeviceGuard guard(m_.context->device());
  if (m_.config.auxiliary) {
    clusters_.emplace(m_.config, m_.buffers);
    clusters_->initialise(labels.clusters, m_.output->labels().rows());
  }
  visit_device(m_.context->device(), [&](auto tag) {
    for (const TensorSpec& spec : m_.tensors)
      if (spec.role == Role::optimizer_state)
        kernels::fill_zero(tag, *m_.context, m_.buffers.get<void>(spec.name),
                           static_cast<size_t>(spec.count_in_memory() * spec.element_in_memory()));
  });
}

kernels::OptimizerStep Trainer::optimizer_step() const {
  kernels::OptimizerStep o;
  o.kind = m_.config.optimizer.kind;
  o.lr = static_cast<float>(m_.progress.lr *
                            m_.config.schedule.for_total_steps(m_.progress.total_steps).factor(m_.progress.step));
  if (o.kind == OptimizerKind::adam) {
    const Adam& adam = m_.config.optimizer.adam;
    const double t = static_cast<double>(m_.progress.step + 1);
    o.weight_decay = static_cast<float>(adam.weight_decay);
    o.beta1 = static_cast<float>(m_.momentum);
    o.beta2 = static_cast<float>(adam.beta2);
    o.eps = static_cast<float>(adam.eps);
    o.correction1 = static_cast<float>(1.0 / (1.0 - std::pow(m_.momentum, t)));
    o.correction2 = static_cast<float>(1.0 / std::sqrt(1.0 - std::pow(adam.beta2, t)));
  } else {
    o.weight_decay = static_cast<float>(m_.config.optimizer.sgd.weight_decay);
    o.momentum = static_cast<float>(m_.momentum);
  }
  return o;
}

bool Trainer::settle_one(bool wait) {
  StepResults::Step step;
  const StepResults::Settled settled = results_.settle(wait, step);
  if (settled == StepResults::Settled::nonfinite) {
    withdraw(step);
    refuse_nonfinite(step.on_nonfinite, "embeddings of step call " + std::to_string(step.ticket));
    ++m_.progress.skipped;
  }
  if (settled == StepResults::Settled::trained) {
    const StepResult result = results_.result(step.ticket);
    if (!is_finite(result)) drop_pending();
    check_loss(result, step.number, step.lr);
  }
  return settled != StepResults::Settled::none;
}

void Trainer::withdraw(const StepResults::Step& step) {
  --m_.progress.step;
  if (step.kept) kept_.forget_last();
  if (step.averaged) --m_.progress.averaged;
}

void Trainer::drop_pending() {
  StepResults::Step step;
  for (;;) switch (results_.settle(true, step)) {
      case StepResults::Settled::none:
        return;
      case StepResults::Settled::trained:
        break;
      case StepResults::Settled::nonfinite:
        withdraw(step);
        m_.progress.skipped += step.on_nonfinite == OnNonfinite::skip;
    }
}

OutputBatch Trainer::prepare(const Targets& targets, int64_t rows, bool dropout) {
  OutputBatch batch{m_.inputs, m_.sizes_of(rows), {}, nullptr, std::nullopt};
  if (m_.config.hidden && dropout) batch.sizes.dropout = static_cast<float>(m_.config.hidden->dropout);
  batch.sizes.step = static_cast<uint64_t>(m_.progress.step);
  if (!m_.on_cpu() && !m_.config.sparse_input) batch.sizes.skip = &m_.outcome->nonfinite;
  batch.positives = m_.output->stage(targets.labels);
  if (targets.weights != nullptr) batch.instance_weights = stage(targets.weights, batch.sizes);
  m_.clear_outcome();
  return batch;
}

const float* Trainer::stage(const float* weights, const BatchSizes& sizes) {
  auto* padded = m_.buffers.host<float>(instance_weights_name, sizes.ldx);
  std::fill(std::copy_n(weights, sizes.batch, padded), padded + sizes.ldx, 0.0f);
  return m_.buffers.upload<float>(instance_weights_name, padded, sizes.ldx);
}

float* Trainer::output_step(const OutputBatch& batch, const kernels::OptimizerStep* optimizer) {
  m_.output->normalise(batch);
  m_.output->step(batch, optimizer);
  return m_.output->reduce(batch, {&m_.outcome->loss, &m_.outcome->auxiliary_loss});
}

template <class Forward, class Backward>
int64_t Trainer::start(const Targets& targets, int64_t rows, OnNonfinite on_nonfinite, Forward&& forward,
                       Backward&& backward) {
  Progress& progress = m_.progress;
  settle(false);
  while (results_.full()) settle_one(true);
  // A kept batch of a pending step is the last one kept, and the count of steps is right where batches are kept.
  if (kept_.wanted(progress.step + 1, progress.total_steps)) settle(true);
  const bool keep = kept_.wanted(progress.step + 1, progress.total_steps);
  // The first update copies, which a skipped batch must not leave out.
  if (progress.averaged == 1) settle(true);
  use_average(false);

  // Until the first kernel that updates, whatever fails leaves the model as it was: all memory is taken here.
  OutputBatch batch = prepare(targets, rows, true);
  if (clusters_) batch.auxiliary = clusters_->stage(targets.labels, progress.step);
  if (keep) kept_.reserve(batch.positives);
  if (!m_.on_cpu()) results_.reserve();
  if (!forward(std::as_const(batch.sizes))) {
    ++progress.skipped;
    return results_.add(StepResult{.skipped = true});
  }

  const kernels::OptimizerStep optimizer = optimizer_step();
  float* dx = output_step(batch, &optimizer);
  backward(std::as_const(batch.sizes), dx, optimizer);
  ++progress.step;
  if (keep)
    kept_.keep(m_.inputs, batch.sizes, batch.positives, batch.instance_weights, m_.output->shapes(),
               m_.output->labels());
  const bool averaged = update_average(progress.step, batch.sizes.skip);
  const int64_t ticket = add_result({.batch = rows,
                                     .on_nonfinite = on_nonfinite,
                                     .kept = keep,
                                     .averaged = averaged,
                                     .number = progress.step,
                                     .lr = optimizer.lr});
  rewire_if_due(batch);
  return ticket;
}

int64_t Trainer::add_result(const StepResults::Step& step) {
  if (!m_.on_cpu()) return results_.add(step, m_.outcome);
  const auto instances = static_cast<double>(step.batch);
  const StepResult result{.loss = m_.outcome->loss / instances,
                          .auxiliary_loss = m_.outcome->auxiliary_loss / instances};
  const int64_t ticket = results_.add(result);
  check_loss(result, step.number, step.lr);
  return ticket;
}

bool Trainer::update_average(int64_t step, const uint32_t* skip) {
  const std::optional<WeightAverage>& average = m_.config.average;
  if (!average || !average->due(step, m_.progress.total_steps)) return false;
  averages_.update(static_cast<float>(average->rate(++m_.progress.averaged)), skip);
  return true;
}

void Trainer::use_average(bool use) {
  m_.progress.average_in_use = use && m_.progress.averaged > 0;
  m_.output->use_averages(m_.progress.average_in_use);
  if (m_.hidden) m_.hidden->use_averages(m_.progress.average_in_use);
}

void Trainer::start_average(const WeightAverage& average) {
  ClassifierConfig config = m_.config;
  config.average = average;
  const MemoryPlan larger = plan(config);
  m_.buffers.add(larger);
  configure_average(average, larger);
  averages_.clear();
}

void Trainer::stop_average(bool keep) {
  if (keep && m_.progress.averaged > 0) averages_.store();
  ClassifierConfig config = m_.config;
  config.average.reset();
  const MemoryPlan smaller = plan(config);
  m_.buffers.remove_others(smaller);
  configure_average(std::nullopt, smaller);
  m_.context->pool().trim();
}

void Trainer::configure_average(const std::optional<WeightAverage>& average, const MemoryPlan& plan) {
  m_.config.average = average;
  m_.memory_plan = plan;
  m_.tensors = tensor_specs(m_.config, true);
  m_.progress.averaged = 0;
  m_.output->find_averages();
  if (m_.hidden) m_.hidden->find_averages(m_.buffers);
  use_average(false);
}

void Trainer::rewire_if_due(const OutputBatch& last) {
  const int64_t step = m_.progress.step;
  if (!m_.config.rewiring) return;
  const Rewiring rewiring = m_.config.rewiring->for_total_steps(m_.progress.total_steps);
  if (!rewiring.due(step)) return;
  settle(true);
  if (m_.progress.step != step) return;  // a skipped batch has put it off
  const std::vector<SegmentShape>& shapes = m_.output->shapes();
  // Without kept batches the features' scales are those of the last one.
  const kernels::KeptBatch inputs_only{m_.inputs, nullptr, 0, last.sizes.batch, last.sizes.ldx, last.instance_weights};
  m_.output->rewire(m_.progress.rewirings,
                    rewiring.kept_batches() > 0 ? kept_.sorted(m_.output->labels(), shapes)
                                                : std::vector(shapes.size(), std::vector{inputs_only}),
                    step, rewiring.fraction_at(step));
  kept_.clear();
  results_.set_rewired();
}

void Trainer::backward(const TensorView* gradient, const BatchSizes& sizes, float* dx,
                       const kernels::OptimizerStep* optimizer) {
  const float* out = dx;
  if (m_.hidden) {
    float* dxt = gradient != nullptr ? m_.buffers.get<float>("batch.feature_gradients") : nullptr;
    m_.hidden->backward(*m_.context, dxt, dx, m_.inputs, m_.features, sizes, optimizer);
    out = dxt;
  }
  if (gradient == nullptr) return;
  const kernels::ScatterColumns p{gradient->data, out,       gradient->dtype, sizes.batch,
                                  gradient->cols, sizes.ldx, sizes.skip,      m_.input_scale()};
  visit_device(m_.context->device(), [&](auto tag) { kernels::scatter_columns(tag, *m_.context, p); });
}

int64_t Trainer::start_step(const TensorView& embeddings, const Targets& targets, const TensorView* gradient,
                            OnNonfinite on_nonfinite) {
  return start(
      targets, embeddings.rows, on_nonfinite,
      [&](const BatchSizes& sizes) { return m_.forward(embeddings, 0, on_nonfinite, sizes); },
      [&](const BatchSizes& sizes, float* dx, const kernels::OptimizerStep& optimizer) {
        backward(gradient, sizes, dx, &optimizer);
      });
}

int64_t Trainer::start_step(const CsrView& features, const Targets& targets, OnNonfinite on_nonfinite) {
  SparseBatch batch{};
  return start(
      targets, features.rows, on_nonfinite,
      [&](const BatchSizes& sizes) {
        batch = m_.stage(features, 0, sizes.batch, true);
        return m_.forward(batch, on_nonfinite, sizes);
      },
      [&](const BatchSizes& sizes, float* dx, const kernels::OptimizerStep& optimizer) {
        m_.hidden->backward(*m_.context, dx, m_.inputs, batch, sizes, optimizer);
      });
}

StepResult Trainer::finish_step(int64_t ticket) {
  while (results_.oldest_pending() != 0 && results_.oldest_pending() <= ticket) settle_one(true);
  return results_.result(ticket);
}

StepResult Trainer::eval_step(const TensorView& embeddings, const Targets& targets, const TensorView* gradient,
                              OnNonfinite on_nonfinite, bool dropout) {
  settle(true);
  const OutputBatch batch = prepare(targets, embeddings.rows, dropout);
  if (!m_.forward(embeddings, 0, on_nonfinite, batch.sizes)) return StepResult{.skipped = true};
  float* dx = output_step(batch, nullptr);
  if (gradient != nullptr) backward(gradient, batch.sizes, dx, nullptr);
  const StepOutcome seen = m_.read_outcome();
  if (seen.nonfinite != 0) {
    refuse_nonfinite(on_nonfinite, "embeddings");
    return StepResult{.skipped = true};
  }
  const StepResult result{.loss = seen.loss / static_cast<double>(embeddings.rows)};
  check_loss(result, m_.progress.step + 1, optimizer_step().lr);
  return result;
}

}  // namespace sparsexmc

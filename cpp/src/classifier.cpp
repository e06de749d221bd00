// The order of things in a training step and in prediction.
#include "sparsexmc/classifier.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <string>
#include <utility>

#include "classifier_impl.h"
#include "sparsexmc/error.h"
#include "visit_device.h"

namespace sparsexmc {

namespace {

void check_batch(int64_t rows, int64_t label_rows, int64_t batch_size) {
  if (rows < 1) throw ArgumentError("embeddings: an empty batch; pass at least one row");
  if (rows > batch_size)
    throw ArgumentError("embeddings: " + std::to_string(rows) + " rows, but batch_size is " +
                        std::to_string(batch_size) +
                        "; pass smaller batches or make the Classifier with a larger batch_size");
  if (label_rows != rows)
    throw ArgumentError("labels: " + std::to_string(label_rows) + " rows, but embeddings have " + std::to_string(rows) +
                        "; both need one row per instance");
}

void check_embeddings(const TensorView& x, const ClassifierConfig& config, Device device, const char* name) {
  if (config.sparse_input)
    throw TypeError(std::string(name) + ": a dense array, but the model was made with sparse_input; pass CSR rows");
  if (x.dtype != DType::float32 && x.dtype != DType::float16 && x.dtype != DType::bfloat16)
    throw TypeError(std::string(name) + ": dtype " + dtype_name(x.dtype) + "; pass float32, float16 or bfloat16");
  if (x.cols != config.in_features)
    throw ArgumentError(std::string(name) + ": " + std::to_string(x.cols) + " columns, but in_features is " +
                        std::to_string(config.in_features) + "; pass [batch, in_features]");
  if (!(x.device == device))
    throw ArgumentError(std::string(name) + ": on " + x.device.name() + ", but the model is on " + device.name() +
                        "; move one to the other");
}

void check_k(int64_t k, int64_t num_labels) {
  if (k < 1 || k > num_labels)
    throw ArgumentError("k is " + std::to_string(k) + "; it must lie in 1.." + std::to_string(num_labels) +
                        " (num_labels)");
}

/// Raises, or returns true if the batch is to be skipped.
bool refuse_nonfinite(OnNonfinite on_nonfinite, const char* name) {
  if (on_nonfinite == OnNonfinite::raise)
    throw ArgumentError(std::string(name) +
                        ": NaN or Inf among the values; look for a diverging encoder or bad data, or pass "
                        "on_nonfinite=\"skip\" to leave such batches out");
  return true;
}

/// Internal order when none is given: frequency falling, then label id rising.
std::vector<int64_t> order_by_count(int64_t num_labels, const int64_t* counts) {
  std::vector<int64_t> order(static_cast<size_t>(num_labels));
  std::iota(order.begin(), order.end(), int64_t{0});
  if (counts != nullptr)
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return counts[a] > counts[b]; });
  return order;
}

/// @throws ArgumentError unless `order` holds every id of 0..num_labels-1 once
void check_permutation(const int64_t* order, int64_t num_labels) {
  std::vector<bool> seen(static_cast<size_t>(num_labels), false);
  for (int64_t row = 0; row < num_labels; ++row) {
    const int64_t id = order[row];
    if (id < 0 || id >= num_labels || seen[static_cast<size_t>(id)])
      throw ArgumentError("label_order: " + std::to_string(id) + " at position " + std::to_string(row) +
                          (id < 0 || id >= num_labels ? " is no label id" : " occurs twice") +
                          "; it must hold every id of 0.." + std::to_string(num_labels - 1) + " once");
    seen[static_cast<size_t>(id)] = true;
  }
}

}  // namespace

Classifier::Impl::Impl(const ClassifierConfig& wanted, const int64_t* order, const int64_t* counts)
    : config(wanted),
      memory_plan(plan(config)),
      context(std::make_unique<Context>(Device::parse(config.device), config.num_threads, config.memory_limit)),
      buffers(*context, memory_plan),
      output(config, buffers, segment_shapes(config)),
      kept(config, buffers),
      inputs(buffers.get<float>("batch.inputs")),
      label_order(buffers.get<uint32_t>("label_order")),
      label_rows(buffers.get<uint32_t>("label_rows")) {
  if (counts != nullptr)
    for (int64_t l = 0; l < config.num_labels; ++l)
      if (counts[l] < 0)
        throw ArgumentError("label_counts: " + std::to_string(counts[l]) + " for label " + std::to_string(l) +
                            "; counts must be >= 0");
  if (order != nullptr)
    set_label_order(order);
  else
    set_label_order(order_by_count(config.num_labels, counts).data());
  for (const MemoryEntry& entry : memory_plan.entries)
    if (entry.name.starts_with("optimizer.")) std::memset(buffers.get<void>(entry.name), 0, entry.bytes);
  output.initialise(*context);
  if (config.hidden) {
    hidden.emplace(config, buffers);
    hidden->initialise(*context);
  }
  progress.lr = config.optimizer.lr();
}

void Classifier::Impl::set_label_order(const int64_t* order) {
  check_permutation(order, config.num_labels);
  for (int64_t row = 0; row < config.num_labels; ++row) {
    label_order[row] = static_cast<uint32_t>(order[row]);
    label_rows[order[row]] = static_cast<uint32_t>(row);
  }
}

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

template <class Forward, class Backward>
StepResult Classifier::Impl::step(const LabelsView& labels, int64_t batch, Forward&& forward, Backward&& backward) {
  const int64_t ldx = leading_dimension(batch);
  const auto positives = sort_positives(buffers, labels, label_rows, output.shapes());
  const BatchSizes sizes{batch, ldx, config.hidden ? static_cast<float>(config.hidden->dropout) : 0.0f,
                         static_cast<uint64_t>(progress.step)};
  StepResult result;
  if (!forward(sizes)) {
    ++progress.skipped;
    result.skipped = true;
    return result;
  }
  if (config.rewiring) kept.reserve(buffers, progress.step + 1, positives);
  const kernels::OptimizerStep optimizer = optimizer_step();  // from here on nothing can fail
  float* dx = nullptr;
  result.loss = output.step(*context, dx, inputs, positives, batch, ldx, optimizer) / static_cast<double>(batch);
  backward(sizes, dx, optimizer);
  ++progress.step;
  if (config.rewiring) {
    kept.keep(progress.step, inputs, batch, ldx, positives, output.shapes(), label_order);
    if (config.rewiring->due(progress.step)) {
      output.rewire(*context, progress.rewirings, kept.sorted(buffers, label_rows, output.shapes()),
                    leading_dimension(config.batch_size), progress.step);
      kept.clear();
      result.rewired = true;
    }
  }
  return result;
}

template <class Stage>
void Classifier::Impl::topk(int64_t rows, int64_t k, float* scores, int64_t* ids, Stage&& stage) {
  const int64_t workers = context->threads().num_threads();
  for (int64_t first = 0; first < rows; first += config.batch_size) {
    const int64_t batch = std::min(config.batch_size, rows - first), ldx = leading_dimension(batch);
    auto* lists = buffers.at_least<kernels::Candidate>("topk.candidates", workers * batch * k);
    stage(first, BatchSizes{batch, ldx, 0.0f, 0});
    output.topk(*context, scores + first * k, ids + first * k, lists, inputs, label_order, batch, ldx, k);
  }
}

Classifier::Classifier(const ClassifierConfig& config, const int64_t* label_order, const int64_t* label_counts)
    : impl_(std::make_unique<Impl>(config, label_order, label_counts)) {}
Classifier::~Classifier() = default;
Classifier::Classifier(Classifier&&) noexcept = default;
Classifier& Classifier::operator=(Classifier&&) noexcept = default;

const ClassifierConfig& Classifier::config() const { return impl_->config; }
Context& Classifier::context() { return *impl_->context; }
const MemoryPlan& Classifier::memory_plan() const { return impl_->memory_plan; }
double Classifier::lr() const { return impl_->progress.lr; }
Progress Classifier::progress() const {
  Progress progress = impl_->progress;
  progress.kept = impl_->kept.sizes();
  return progress;
}

void Classifier::set_lr(double lr) {
  if (!(lr >= 0.0) || !std::isfinite(lr))
    throw ArgumentError("lr is " + std::to_string(lr) + "; it must be finite and >= 0");
  impl_->progress.lr = lr;
}

void Classifier::set_progress(const Progress& progress) {
  if (progress.step < 0 || progress.skipped < 0) throw ArgumentError("progress: step and skipped must be >= 0");
  const std::optional<Rewiring>& rewiring = impl_->config.rewiring;
  const size_t most =
      rewiring && rewiring->method == RewiringMethod::rigl ? static_cast<size_t>(rewiring->grow_batches) : 0;
  if (progress.kept.size() > most)
    throw ArgumentError("progress: " + std::to_string(progress.kept.size()) + " kept batches, but at most " +
                        std::to_string(most) + " fit (rewiring.grow_batches)");
  for (const KeptBatchSize& kept : progress.kept)
    if (kept.batch < 1 || kept.batch > impl_->config.batch_size || kept.positives < 0)
      throw ArgumentError("progress: a kept batch of " + std::to_string(kept.batch) + " rows and " +
                          std::to_string(kept.positives) + " positives; rows must lie in 1..batch_size");
  set_lr(progress.lr);
  impl_->kept.restore(impl_->buffers, progress.kept);
  impl_->progress = progress;
}

StepResult Classifier::train_step(const TensorView& embeddings, const LabelsView& labels, const TensorView* gradient,
                                  OnNonfinite on_nonfinite) {
  Impl& m = *impl_;
  check_embeddings(embeddings, m.config, m.context->device(), "embeddings");
  check_batch(embeddings.rows, labels.rows, m.config.batch_size);
  check_labels(labels, m.config.num_labels);
  if (gradient != nullptr && (gradient->rows != embeddings.rows || gradient->cols != embeddings.cols ||
                              gradient->dtype != embeddings.dtype || !(gradient->device == embeddings.device)))
    throw ArgumentError("gradient: shape, dtype and device must be those of the embeddings");
  float* features = m.hidden ? m.buffers.get<float>("batch.features") : m.inputs;
  const auto forward = [&](const BatchSizes& sizes) {
    bool nonfinite = false;
    kernels::GatherColumns gather{features,    &nonfinite,      embeddings.data, embeddings.dtype,
                                  sizes.batch, embeddings.cols, sizes.ldx};
    visit_device(m.context->device(), [&](auto device) { kernels::gather_columns(device, *m.context, gather); });
    if (nonfinite && refuse_nonfinite(on_nonfinite, "embeddings")) return false;
    if (m.hidden) m.hidden->forward(*m.context, m.inputs, features, sizes);
    return true;
  };
  const auto backward = [&](const BatchSizes& sizes, float* dx, const kernels::OptimizerStep& optimizer) {
    const float* out = dx;
    if (m.hidden) {
      float* dxt = gradient != nullptr ? m.buffers.get<float>("batch.feature_gradients") : nullptr;
      m.hidden->backward(*m.context, dxt, dx, m.inputs, features, sizes, optimizer);
      out = dxt;
    }
    if (gradient == nullptr) return;
    kernels::ScatterColumns scatter{gradient->data, out, gradient->dtype, sizes.batch, gradient->cols, sizes.ldx};
    visit_device(m.context->device(), [&](auto device) { kernels::scatter_columns(device, *m.context, scatter); });
  };
  return m.step(labels, embeddings.rows, forward, backward);
}

StepResult Classifier::train_step(const CsrView& features, const LabelsView& labels, OnNonfinite on_nonfinite) {
  Impl& m = *impl_;
  if (!m.config.sparse_input)
    throw TypeError(
        "features: CSR rows, but the model reads dense embeddings; make it with sparse_input and a hidden layer");
  check_batch(features.rows, labels.rows, m.config.batch_size);
  check_features(features, m.config.in_features);
  check_labels(labels, m.config.num_labels);
  SparseBatch batch{};
  const auto forward = [&](const BatchSizes& sizes) {
    batch = stage_features(m.buffers, features, 0, sizes.batch, static_cast<float>(m.config.hidden->input_scale), true);
    if (!batch.finite && refuse_nonfinite(on_nonfinite, "features")) return false;
    m.hidden->forward(*m.context, m.inputs, batch, sizes);
    return true;
  };
  const auto backward = [&](const BatchSizes& sizes, float* dx, const kernels::OptimizerStep& optimizer) {
    m.hidden->backward(*m.context, dx, m.inputs, batch, sizes, optimizer);
  };
  return m.step(labels, features.rows, forward, backward);
}

void Classifier::topk(const TensorView& embeddings, int64_t k, float* scores, int64_t* ids) {
  Impl& m = *impl_;
  check_embeddings(embeddings, m.config, m.context->device(), "embeddings");
  check_k(k, m.config.num_labels);
  float* features = m.hidden ? m.buffers.get<float>("batch.features") : m.inputs;
  m.topk(embeddings.rows, k, scores, ids, [&](int64_t first, const BatchSizes& sizes) {
    bool nonfinite = false;
    auto* rows = static_cast<char*>(embeddings.data) +
                 static_cast<size_t>(first * embeddings.cols) * dtype_size(embeddings.dtype);
    kernels::GatherColumns gather{features,    &nonfinite,      rows,     embeddings.dtype,
                                  sizes.batch, embeddings.cols, sizes.ldx};
    visit_device(m.context->device(), [&](auto device) { kernels::gather_columns(device, *m.context, gather); });
    if (nonfinite) refuse_nonfinite(OnNonfinite::raise, "embeddings");
    if (m.hidden) m.hidden->forward(*m.context, m.inputs, features, sizes);
  });
}

void Classifier::topk(const CsrView& features, int64_t k, float* scores, int64_t* ids) {
  Impl& m = *impl_;
  if (!m.config.sparse_input)
    throw TypeError("features: CSR rows, but the model reads dense embeddings; pass an array");
  check_k(k, m.config.num_labels);
  check_features(features, m.config.in_features);
  m.topk(features.rows, k, scores, ids, [&](int64_t first, const BatchSizes& sizes) {
    const SparseBatch batch = stage_features(m.buffers, features, first, sizes.batch,
                                             static_cast<float>(m.config.hidden->input_scale), false);
    if (!batch.finite) refuse_nonfinite(OnNonfinite::raise, "features");
    m.hidden->forward(*m.context, m.inputs, batch, sizes);
  });
}

}  // namespace sparsexmc

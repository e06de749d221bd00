#include "step.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "sparsexmc/error.h"

namespace sparsexmc::python {
namespace {

OnNonfinite on_nonfinite(bool skip) { return skip ? OnNonfinite::skip : OnNonfinite::raise; }

/// A step that is queued, and the memory that it still reads or writes.
struct Started {
  int64_t ticket = 0;
  std::optional<StepResult> result;  // known at once on the CPU
  Event done;
  Reachable x, dx;
};

Started finish_if_done(Classifier& c, Started started) {
  if (c.context().device().kind == DeviceKind::cpu) started.result = c.finish_step(started.ticket);
  return started;
}

Step to_step(Engine& engine, const Started& started) {
  return started.result ? Step(*started.result) : Step(engine, started.ticket);
}

}  // namespace

bool in_reach(Classifier& classifier, const TensorView& matrix) {
  return classifier.context().device().kind == DeviceKind::cpu || matrix.device.kind != DeviceKind::cpu;
}

Reachable reachable(Classifier& classifier, const char* name, const TensorView& matrix) {
  if (in_reach(classifier, matrix)) return {matrix, nullptr};
  Context& context = classifier.context();
  TensorView batch = matrix;
  batch.rows = std::min(matrix.rows, classifier.config().batch_size);  // more are refused anyway
  Reachable result{matrix, std::make_shared<Allocation>(context.staging().allocate(name, bytes_of(batch)))};
  result.view.data = result.pages->as<void>();
  result.view.device = context.device();
  return result;
}

Reachable reachable_copy(Classifier& classifier, const char* name, const TensorView& matrix) {
  Reachable result = reachable(classifier, name, matrix);
  if (result.pages && result.pages->bytes() > 0) std::memcpy(result.view.data, matrix.data, result.pages->bytes());
  return result;
}

void Step::copy_gradient_to(Tensor target, Reachable gradient) {
  target_ = std::move(target);
  gradient_ = std::move(gradient);
}

StepResult Step::result() {
  if (!result_) {
    // Copies, as another thread may ask at the same time and be the first to know.
    Engine& engine = *engine_;
    const nanobind::object owner = owner_;
    const std::optional<Tensor> target = target_;
    const Reachable gradient = gradient_;
    void* to = target ? target->matrix().data : nullptr;
    result_ = engine.call([&](Classifier& c) {
      const StepResult result = c.finish_step(ticket_);
      if (to != nullptr) std::memcpy(to, gradient.view.data, gradient.pages->bytes());
      return result;
    });
    target_.reset();
    gradient_ = {};
    owner_.reset();
  }
  return *result_;
}

Step start_step(Engine& engine, const Tensor& embeddings, const Indices& label_indptr, const Indices& label_indices,
                const std::optional<Values>& instance_weights, const Tensor* gradient, bool skip, StreamHandle stream,
                std::optional<StreamHandle> caller_stream) {
  const TensorView x = embeddings.matrix();
  const TensorView dx = gradient ? gradient->matrix() : TensorView{};
  const LabelsView labels = labels_view(label_indptr, label_indices);
  const float* weights = instance_weights_view(instance_weights, labels.rows);
  const bool on_caller_stream = caller_stream == stream;
  Started started = engine.call_on(stream, [&](Classifier& c) {
    Context& context = c.context();
    Started s;
    s.x = reachable_copy(c, "embeddings", x);
    if (gradient) s.dx = reachable(c, "gradient", dx);
    s.ticket = c.start_step(s.x.view, labels, gradient ? &s.dx.view : nullptr, on_nonfinite(skip), weights);
    if (!on_caller_stream) s.done = Event(context.device(), context.stream());
    if (gradient && caller_stream) s.done.hold_back(to_stream(*caller_stream));
    return finish_if_done(c, std::move(s));
  });
  Step step = to_step(engine, started);
  if (started.result) {
    if (gradient && started.result->skipped) std::memset(dx.data, 0, bytes_of(dx));
    return step;
  }
  if (started.dx.pages) step.copy_gradient_to(*gradient, started.dx);
  if (on_caller_stream) return step;  // memory that its owner frees is reused after what is queued there
  // Otherwise only we know when the embeddings are done with. Their stream waits for the gradient.
  std::vector<std::shared_ptr<void>> used;
  if (started.x.pages) used.push_back(started.x.pages);
  if (started.dx.pages) used.push_back(started.dx.pages);
  if (!started.x.pages) used.push_back(std::make_shared<Tensor>(embeddings));
  engine.hold(std::move(started.done), std::move(used));
  return step;
}

Step eval_step(Engine& engine, const Tensor& embeddings, const Indices& label_indptr, const Indices& label_indices,
               const std::optional<Values>& instance_weights, const Tensor* gradient, bool skip, bool dropout,
               StreamHandle stream) {
  const TensorView x = embeddings.matrix();
  const TensorView dx = gradient ? gradient->matrix() : TensorView{};
  const LabelsView labels = labels_view(label_indptr, label_indices);
  const float* weights = instance_weights_view(instance_weights, labels.rows);
  const StepResult result = engine.call_on(stream, [&](Classifier& c) {
    const Reachable from = reachable_copy(c, "embeddings", x);
    const Reachable to = gradient ? reachable(c, "gradient", dx) : Reachable{};
    const StepResult r =
        c.eval_step(from.view, labels, gradient ? &to.view : nullptr, on_nonfinite(skip), dropout, weights);
    if (to.pages) std::memcpy(dx.data, to.view.data, to.pages->bytes());
    return r;
  });
  // A GPU has put the zeros there itself.
  if (gradient && result.skipped && x.device.kind == DeviceKind::cpu) std::memset(dx.data, 0, bytes_of(dx));
  return Step(result);
}

Step start_sparse_step(Engine& engine, const Indices& indptr, const Indices& indices, const Values& values,
                       int64_t cols, const Indices& label_indptr, const Indices& label_indices,
                       const std::optional<Values>& instance_weights, bool skip, StreamHandle stream) {
  const CsrView features = features_view(indptr, indices, values, cols);
  const LabelsView labels = labels_view(label_indptr, label_indices);
  const float* weights = instance_weights_view(instance_weights, labels.rows);
  return to_step(engine, engine.call_on(stream, [&](Classifier& c) {
    Started s;
    s.ticket = c.start_step(features, labels, on_nonfinite(skip), weights);
    return finish_if_done(c, std::move(s));
  }));
}

}  // namespace sparsexmc::python

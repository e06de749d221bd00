#include "step.h"

#include <cstring>
#include <utility>
#include <vector>

#include "sparsexmc/error.h"

namespace sparsexmc::python {
namespace {

OnNonfinite on_nonfinite(bool skip) { return skip ? OnNonfinite::skip : OnNonfinite::raise; }

size_t bytes_of(const TensorView& matrix) {
  return static_cast<size_t>(matrix.rows * matrix.cols) * dtype_size(matrix.dtype);
}

/// What a step call has queued.
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

Reachable reachable(Context& context, const char* name, const TensorView& matrix) {
  if (matrix.device == context.device() || matrix.device.kind != DeviceKind::cpu) return {matrix, nullptr};
  Reachable result{matrix, std::make_shared<Allocation>(context.staging().allocate(name, bytes_of(matrix)))};
  result.view.data = result.pages->as<void>();
  result.view.device = context.device();
  return result;
}

Reachable reachable_copy(Context& context, const char* name, const TensorView& matrix) {
  Reachable result = reachable(context, name, matrix);
  if (result.pages) std::memcpy(result.view.data, matrix.data, bytes_of(matrix));
  return result;
}

void Step::copy_gradient_to(Tensor target, Reachable gradient) {
  target_ = std::move(target);
  gradient_ = std::move(gradient);
}

std::tuple<double, bool, bool> Step::result() {
  if (!result_) {
    const TensorView target = target_ ? target_->matrix() : TensorView{};
    result_ = engine_->call([&](Classifier& c) {
      const StepResult result = c.finish_step(ticket_);
      if (target_) std::memcpy(target.data, gradient_.view.data, bytes_of(target));
      return result;
    });
    target_.reset();
    gradient_ = {};
    owner_.reset();
  }
  return {result_->loss, result_->skipped, result_->rewired};
}

Step start_step(Engine& engine, const Tensor& embeddings, const Indices& label_indptr, const Indices& label_indices,
                const Tensor* gradient, bool skip, StreamHandle stream, std::optional<StreamHandle> caller_stream) {
  const TensorView x = embeddings.matrix();
  const TensorView dx = gradient ? gradient->matrix() : TensorView{};
  const LabelsView labels = labels_view(label_indptr, label_indices);
  engine.let_go();
  Started started = engine.call_on(stream, [&](Classifier& c) {
    Context& context = c.context();
    Started s;
    s.x = reachable_copy(context, "embeddings", x);
    if (gradient) s.dx = reachable(context, "gradient", dx);
    s.ticket = c.start_step(s.x.view, labels, gradient ? &s.dx.view : nullptr, on_nonfinite(skip));
    s.done = Event(context.device(), context.stream());
    if (gradient && caller_stream && *caller_stream != stream) s.done.hold_back(to_stream(*caller_stream));
    return finish_if_done(c, std::move(s));
  });
  Step step = to_step(engine, started);
  if (started.result) {
    if (gradient && started.result->skipped) std::memset(dx.data, 0, bytes_of(dx));
    return step;
  }
  if (started.dx.pages) step.copy_gradient_to(*gradient, started.dx);
  // Memory that its owner frees is reused behind what is queued on the owner's current stream, so where we run on that
  // one there is nothing to hold. The gradient is safe in the same way, as that stream waits for it.
  std::vector<std::shared_ptr<void>> used;
  if (started.x.pages) used.push_back(started.x.pages);
  if (started.dx.pages) used.push_back(started.dx.pages);
  if (!started.x.pages && caller_stream != stream) used.push_back(std::make_shared<Tensor>(embeddings));
  if (!used.empty()) engine.hold(std::move(started.done), std::move(used));
  return step;
}

Step start_sparse_step(Engine& engine, const Indices& indptr, const Indices& indices, const Values& values,
                       int64_t cols, const Indices& label_indptr, const Indices& label_indices, bool skip,
                       StreamHandle stream) {
  const CsrView features = features_view(indptr, indices, values, cols);
  const LabelsView labels = labels_view(label_indptr, label_indices);
  engine.let_go();
  return to_step(engine, engine.call_on(stream, [&](Classifier& c) {
    Started s;
    s.ticket = c.start_step(features, labels, on_nonfinite(skip));
    return finish_if_done(c, std::move(s));
  }));
}

}  // namespace sparsexmc::python

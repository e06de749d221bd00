// Training steps, which may still run when their call has returned.
#pragma once

#include <memory>
#include <optional>

#include "engine.h"
#include "tensor.h"
#include "views.h"

namespace sparsexmc::python {

/// Bytes of the elements of a matrix.
inline size_t bytes_of(const TensorView& matrix) {
  return static_cast<size_t>(matrix.rows * matrix.cols) * dtype_size(matrix.dtype);
}

/// Whether the kernels of a model reach this memory. On a GPU they do not reach the host's.
bool in_reach(Classifier& classifier, const TensorView& matrix);

/// A matrix that the kernels reach: itself, or page-locked host memory in its place.
struct Reachable {
  TensorView view;
  std::shared_ptr<Allocation> pages;  // null: itself
};
/// @param name of the memory, which has room for one batch at most
Reachable reachable(Classifier& classifier, const char* name, const TensorView& matrix);
/// The same with the elements of the matrix.
Reachable reachable_copy(Classifier& classifier, const char* name, const TensorView& matrix);

/// A call of a step: its result, once that is asked for, and a gradient that is copied to host memory then.
class Step {
 public:
  Step(Engine& engine, int64_t ticket) : engine_(&engine), owner_(nanobind::find(engine)), ticket_(ticket) {}
  /// Of a step that has run.
  explicit Step(StepResult result) : result_(result) {}

  void copy_gradient_to(Tensor target, Reachable gradient);

  /// Waits for the step. @throws ArgumentError see Classifier::finish_step
  StepResult result();

 private:
  Engine* engine_ = nullptr;
  nanobind::object owner_;  // keeps the engine as long as it is asked
  int64_t ticket_ = 0;
  std::optional<StepResult> result_;
  std::optional<Tensor> target_;
  Reachable gradient_;
};

/// @param gradient null, or of the embeddings' shape, and of their dtype or float32
/// @param stream to run on  @param caller_stream the one that is current where the embeddings come from: if it is
///        another, it waits for the gradient
Step start_step(Engine& engine, const Tensor& embeddings, const Indices& label_indptr, const Indices& label_indices,
                const std::optional<Values>& instance_weights, const Tensor* gradient, bool skip, StreamHandle stream,
                std::optional<StreamHandle> caller_stream);
/// A step that updates nothing; has run when it returns. See Classifier::eval_step.
Step eval_step(Engine& engine, const Tensor& embeddings, const Indices& label_indptr, const Indices& label_indices,
               const std::optional<Values>& instance_weights, const Tensor* gradient, bool skip, bool dropout,
               StreamHandle stream);
Step start_sparse_step(Engine& engine, const Indices& indptr, const Indices& indices, const Values& values,
                       int64_t cols, const Indices& label_indptr, const Indices& label_indices,
                       const std::optional<Values>& instance_weights, bool skip, StreamHandle stream);

}  // namespace sparsexmc::python

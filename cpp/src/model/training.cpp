// The classifier's side of training: checks, then the trainer's work on the model's device.
#include <numeric>
#include <vector>

#include "layers/positives.h"
#include "model/arguments.h"
#include "model/classifier_impl.h"
#include "sparsexmc/cluster_labels.h"

namespace sparsexmc {

Trainer& Classifier::Impl::training(const char* call) {
  check_trainable(trainer.has_value(), call);
  return *trainer;
}

int64_t Classifier::start_step(const TensorView& embeddings, const LabelsView& labels, const TensorView* gradient,
                               OnNonfinite on_nonfinite, const float* instance_weights) {
  Trainer& trainer = impl_->training("a training step");
  check_dense_step(embeddings, labels, gradient, instance_weights, config(), context().device());
  return impl_->run([&] { return trainer.start_step(embeddings, {labels, instance_weights}, gradient, on_nonfinite); });
}

int64_t Classifier::start_step(const CsrView& features, const LabelsView& labels, OnNonfinite on_nonfinite,
                               const float* instance_weights) {
  Trainer& trainer = impl_->training("a training step");
  check_sparse(features, config());
  check_batch(features.rows, labels.rows, config().batch_size);
  check_labels(labels, config().num_labels);
  check_instance_weights(instance_weights, features.rows);
  return impl_->run([&] { return trainer.start_step(features, {labels, instance_weights}, on_nonfinite); });
}

StepResult Classifier::finish_step(int64_t ticket) {
  Trainer& trainer = impl_->training("a training step");
  return impl_->run([&] { return trainer.finish_step(ticket); });
}

StepResult Classifier::train_step(const TensorView& embeddings, const LabelsView& labels, const TensorView* gradient,
                                  OnNonfinite on_nonfinite, const float* instance_weights) {
  return finish_step(start_step(embeddings, labels, gradient, on_nonfinite, instance_weights));
}

StepResult Classifier::train_step(const CsrView& features, const LabelsView& labels, OnNonfinite on_nonfinite,
                                  const float* instance_weights) {
  return finish_step(start_step(features, labels, on_nonfinite, instance_weights));
}

StepResult Classifier::eval_step(const TensorView& embeddings, const LabelsView& labels, const TensorView* gradient,
                                 OnNonfinite on_nonfinite, bool dropout, const float* instance_weights) {
  Trainer& trainer = impl_->training("eval_step");
  check_dense_step(embeddings, labels, gradient, instance_weights, config(), context().device());
  return impl_->run(
      [&] { return trainer.eval_step(embeddings, {labels, instance_weights}, gradient, on_nonfinite, dropout); });
}

void Classifier::regroup(const int64_t* order) {
  impl_->training("regroup");
  impl_->run_settled([&] { impl_->model.output->regroup(order); });
}

std::vector<int64_t> Classifier::order_by_weights(uint64_t seed) const {
  Model& m = impl_->model;
  const RegroupableRows tail = impl_->run_settled([&] { return m.output->regroupable_rows(); });
  // A row is a label's weights, and its only instance.
  const int64_t rows = tail.weights.rows;
  std::vector<int64_t> own(static_cast<size_t>(rows) + 1);
  std::iota(own.begin(), own.end(), int64_t{0});
  const LabelsView labels{rows, {own.data(), true}, {own.data(), true}};
  const std::vector<int64_t> clustered =
      cluster_labels(tail.weights.view(), labels, rows, {tail.group_size, 0, seed}, m.context->threads());
  const uint32_t* ids = m.output->labels().ids();
  std::vector<int64_t> order(ids, ids + tail.first_row);
  for (const int64_t row : clustered) order.push_back(ids[tail.first_row + row]);
  return order;
}

}  // namespace sparsexmc

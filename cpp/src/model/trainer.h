// The part that training adds to a model: the order of things in a step, and everything that lasts from one step to the
// next beside the weights and the optimizer's state.
#pragma once

#include <optional>

#include "layers/averages.h"
#include "layers/kept_batches.h"
#include "layers/label_clusters.h"
#include "model/model.h"

namespace sparsexmc {

/// The positives of the instances of a batch, and how much each instance counts.
struct Targets {
  const LabelsView& labels;
  const float* weights;  // of the instances, in host memory; null: 1
};

class Trainer {
 public:
  /// @param model trainable; must outlive this  @param labels empty: their tensors are written next
  Trainer(Model& model, const LabelData& labels);

  /// See Classifier, after its checks.
  int64_t start_step(const TensorView& embeddings, const Targets& targets, const TensorView* gradient,
                     OnNonfinite on_nonfinite);
  int64_t start_step(const CsrView& features, const Targets& targets, OnNonfinite on_nonfinite);
  StepResult finish_step(int64_t ticket);
  StepResult eval_step(const TensorView& embeddings, const Targets& targets, const TensorView* gradient,
                       OnNonfinite on_nonfinite, bool dropout);

  /// Takes over the outcomes of pending steps. @param wait also for those that run still
  /// @throws ArgumentError if a batch held NaN or Inf and was not to be skipped
  /// @throws DivergenceError if a loss is not finite; then no step is pending any more
  void settle(bool wait) {
    while (settle_one(wait)) continue;
  }

  /// See Classifier, after its checks.
  void use_average(bool use);
  void start_average(const WeightAverage& average);
  void stop_average(bool keep);

  KeptBatches& kept() { return kept_; }
  const KeptBatches& kept() const { return kept_; }

 private:
  /// The beginning of a step and of an evaluation: sizes, positives and weights, and an outcome of zero.
  OutputBatch prepare(const Targets& targets, int64_t rows, bool dropout);
  /// Weights of the instances on the device, with zeros after them.
  const float* stage(const float* weights, const BatchSizes& sizes);
  /// Loss and dX. @param optimizer null: nothing is updated
  float* output_step(const OutputBatch& batch, const kernels::OptimizerStep* optimizer);
  /// Queues a step on an input that `forward` puts into the model's `inputs`: the part after the features.
  /// @param forward is told the sizes; false: the batch holds NaN or Inf and is to be skipped
  /// @returns its ticket
  template <class Forward, class Backward>
  int64_t start(const Targets& targets, int64_t rows, OnNonfinite on_nonfinite, Forward&& forward, Backward&& backward);
  /// @param gradient null, or receives that of the embeddings  @param dx of the output layer's input; overwritten
  /// @param optimizer null: nothing is updated
  void backward(const TensorView* gradient, const BatchSizes& sizes, float* dx,
                const kernels::OptimizerStep* optimizer);
  /// Takes note of a step that is queued, or on the CPU done. @returns its ticket @throws DivergenceError
  int64_t add_result(const StepResults::Step& step);
  /// Takes back what start() has noted of a step whose batch held NaN or Inf.
  void withdraw(const StepResults::Step& step);
  /// Takes over all outcomes without a word: a training that has diverged is told once.
  void drop_pending();
  /// The oldest pending step; false if there is none, or `wait` is false and it runs still.
  bool settle_one(bool wait);
  /// @param last the batch of the step, still in the model's `inputs`
  void rewire_if_due(const OutputBatch& last);
  kernels::OptimizerStep optimizer_step() const;

  /// Updates the averages if step number `step`, which is queued, says so. @returns whether it did
  bool update_average(int64_t step, const uint32_t* skip);
  void configure_average(const std::optional<WeightAverage>& average, const MemoryPlan& plan);

  Model& m_;
  const Averages averages_;
  KeptBatches kept_;
  std::optional<LabelClusters> clusters_;  // of the meta-classifier
  StepResults results_;
};

}  // namespace sparsexmc

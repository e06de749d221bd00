// The parts of a classifier; shared by classifier.cpp (its life), training.cpp, prediction.cpp and classifier_state.cpp
// (the tensors it holds).
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "device/device_guard.h"
#include "layers/buffers.h"
#include "layers/fan_in_layer.h"
#include "layers/hidden_layer.h"
#include "layers/host_table.h"
#include "layers/kept_batches.h"
#include "layers/label_clusters.h"
#include "layers/label_order.h"
#include "model/step_results.h"
#include "sparsexmc/classifier.h"
#include "sparsexmc/error.h"

namespace sparsexmc {

struct Classifier::Impl {
  /// @param labels is complete, or the model is restored from tensors
  Impl(const ClassifierConfig& config, const LabelData& labels, bool restored);

  /// Runs what the user calls: on the model's device, and never again after the device has failed, as the state is then
  /// unknown.
  template <class Body>
  auto run(Body&& body);

  /// Queues a training step on an input that `forward` puts into `inputs`: the part after the features.
  /// @param forward is told the sizes; false: the batch holds NaN or Inf and is to be skipped
  /// @returns its ticket
  template <class Forward, class Backward>
  int64_t start(const LabelsView& labels, int64_t batch, OnNonfinite on_nonfinite, Forward&& forward,
                Backward&& backward);
  /// The layers of a step on dense embeddings. False: they hold NaN or Inf and the batch is to be skipped.
  bool forward(const TensorView& embeddings, OnNonfinite on_nonfinite, const BatchSizes& sizes);
  /// @param gradient null, or receives that of the embeddings  @param dx of the output layer's input; overwritten
  /// @param optimizer null: nothing is updated
  void backward(const TensorView* gradient, const BatchSizes& sizes, float* dx,
                const kernels::OptimizerStep* optimizer);
  StepResult evaluate(const TensorView& embeddings, const LabelsView& labels, const TensorView* gradient,
                      OnNonfinite on_nonfinite, bool dropout);
  /// Takes over the outcome of the oldest step that is pending; false if there is none, or `wait` is false and it runs
  /// still. @throws ArgumentError if its batch held NaN or Inf and was not to be skipped
  bool settle_one(bool wait);
  void settle(bool wait) {
    while (settle_one(wait)) continue;
  }
  /// @param last the batch of the step, still in `inputs`
  void rewire_if_due(const BatchSizes& last);
  kernels::OptimizerStep optimizer_step() const;

  /// Transposes embeddings for the first layer and has `outcome->nonfinite` set if they hold NaN or Inf.
  void gather(const TensorView& embeddings, int64_t first, const BatchSizes& sizes);
  /// Prediction in slices of batch_size: puts the output layer's input into `inputs`, then calls
  /// use(device's tag, first row of the slice, sizes).
  template <class Use>
  void predict(const TensorView& embeddings, Use&& use);
  template <class Use>
  void predict(const CsrView& features, Use&& use);
  template <class Stage, class Use>
  void by_slices(int64_t rows, Stage&& stage, Use&& use);
  /// What predict() uses a slice for: to write its k best labels, or what the output layer would read.
  auto ranking(int64_t k, float* scores, int64_t* ids, const float* label_weights);
  auto activations(float* out);

  /// Factor on the features that a hidden layer reads.
  float input_scale() const { return config.hidden ? static_cast<float>(config.hidden->input_scale) : 1.0f; }
  bool on_cpu() const { return context->device().kind == DeviceKind::cpu; }
  int64_t leading_dimension(int64_t batch) const {
    return visit_device(context->device(), [&](auto tag) { return kernels::leading_dimension(tag, batch); });
  }

  ClassifierConfig config;
  MemoryPlan memory_plan;
  std::unique_ptr<Context> context;
  DType compute;  // what the products of the output layer read
  DType stored;   // of `features` and `inputs`
  Buffers buffers;
  FanInLayer output;
  std::optional<HiddenLayer> hidden;
  KeptBatches kept;
  LabelOrder labels;
  std::optional<HostTable> counts;        // training frequency by user label id
  std::optional<LabelClusters> clusters;  // of the meta-classifier
  StepResults results;
  Progress progress;    // pending steps count as trained
  std::string failure;  // of the device; then nothing works any more

  void* inputs;          // [H, ldx]: what the output layer reads
  void* features;        // [in_features, ldx]: what the first layer reads, of dense embeddings
  StepOutcome* outcome;  // of the step that runs, on the device
};

template <class Body>
auto Classifier::Impl::run(Body&& body) {
  if (!failure.empty())
    throw DeviceError("the model is lost since its device failed (" + failure +
                      "); load its last checkpoint, after a failed kernel in a new process");
  try {
    const DeviceGuard guard(context->device());
    return body();
  } catch (const DeviceError& error) {
    failure = error.what();
    throw;
  }
}

}  // namespace sparsexmc

// A classifier that predicts: weights, the buffers of a batch, and how the k best labels come about. What training adds
// is in trainer.h.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "device/device_guard.h"
#include "device/visit_device.h"
#include "layers/buffers.h"
#include "layers/hidden_layer.h"
#include "layers/output_layer.h"
#include "layers/tensor_spec.h"
#include "model/step_results.h"
#include "sparsexmc/classifier.h"
#include "sparsexmc/error.h"

namespace sparsexmc {

struct Model {
  /// The source of a model. Restored: its tensors are written next, and nothing else is known of its labels.
  struct Origin {
    LabelData labels = {};
    bool restored = false;
    bool trainable = true;
    std::shared_ptr<Context> context = nullptr;  // null: one of its own
  };
  Model(const ClassifierConfig& config, const Origin& origin);

  /// Runs what the user calls: on the model's device, and never again after the device has failed, as the state is then
  /// unknown.
  template <class Body>
  auto run(Body&& body);

  /// Puts the output layer's input into `inputs`: rows [first, first + sizes.batch) of the embeddings, or the staged
  /// rows, through the hidden layer. False: they hold NaN or Inf and are to be skipped. A GPU finds that later and puts
  /// it into `outcome`, which must be zero. @throws ArgumentError if they hold NaN or Inf and are not to be skipped
  bool forward(const TensorView& embeddings, int64_t first, OnNonfinite on_nonfinite, const BatchSizes& sizes);
  bool forward(const SparseBatch& batch, OnNonfinite on_nonfinite, const BatchSizes& sizes);
  SparseBatch stage(const CsrView& rows, int64_t first, int64_t count, bool train) {
    return stage_features(buffers, rows, first, count, input_scale(), train);
  }

  /// See Classifier::topk and Classifier::hidden_activations, after their checks.
  template <class Rows>
  void topk(const Rows& rows, int64_t k, float* scores, int64_t* ids, const float* label_weights);
  template <class Rows>
  void hidden_activations(const Rows& rows, float* out);

  /// Factor on the features that a hidden layer reads.
  float input_scale() const { return config.hidden ? static_cast<float>(config.hidden->input_scale) : 1.0f; }
  bool on_cpu() const { return context->device().kind == DeviceKind::cpu; }
  BatchSizes sizes_of(int64_t batch) const {
    return {batch, visit_device(context->device(), [&](auto tag) { return kernels::leading_dimension(tag, batch); })};
  }
  void clear_outcome() {
    visit_device(context->device(), [&](auto tag) { kernels::fill_zero(tag, *context, outcome, sizeof *outcome); });
  }
  StepOutcome read_outcome();

  ClassifierConfig config;
  const bool trainable;
  MemoryPlan memory_plan;
  std::shared_ptr<Context> context;
  DType compute;                    // what the products of the output layer read
  DType stored;                     // of `features` and `inputs`
  std::vector<TensorSpec> tensors;  // in the order of a checkpoint
  Buffers buffers;
  std::unique_ptr<OutputLayer> output;
  std::optional<HiddenLayer> hidden;
  double momentum;      // of the next step; beta1 of Adam
  Progress progress;    // of its training; pending steps count
  std::string failure;  // of the device; then nothing works any more

  void* inputs;          // [H, ldx]: what the output layer reads
  void* features;        // [in_features, ldx]: what the first layer reads, of dense embeddings; null for sparse ones
  StepOutcome* outcome;  // of what runs, on the device

 private:
  void gather(const TensorView& embeddings, int64_t first, const BatchSizes& sizes);
  void rank(float* scores, int64_t* ids, int64_t k, const BatchSizes& sizes, bool weighted);
  void copy_activations(float* rows, const BatchSizes& sizes);
  bool forward_slice(const TensorView& embeddings, int64_t first, const BatchSizes& sizes);
  bool forward_slice(const CsrView& rows, int64_t first, const BatchSizes& sizes);
  /// Rows that take about a tenth of a second, batch_size at most.
  int64_t rows_of_a_slice() const;
  /// Prediction in slices: forward, then use(first row of the slice, sizes), and if the rows were finite check(first
  /// row, rows) of what came of them. Between two the call may be ended.
  template <class Rows, class Use, class Check>
  void by_slices(const Rows& rows, Use&& use, Check&& check);

  uint64_t calls_ = 0;  // of run()
};

template <class Body>
auto Model::run(Body&& body) {
  if (!failure.empty())
    throw DeviceError("the model is lost since its device failed (" + failure +
                      "); load its last checkpoint, after a failed kernel in a new process");
  ++calls_;
  try {
    const DeviceGuard guard(context->device());
    return body();
  } catch (const DeviceError& error) {
    failure = error.what();
    throw;
  }
}

}  // namespace sparsexmc

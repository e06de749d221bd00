// The parts of a classifier; shared by classifier.cpp (what it does) and classifier_state.cpp (what it holds).
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "buffers.h"
#include "kept_batches.h"
#include "layers/fan_in_layer.h"
#include "layers/hidden_layer.h"
#include "sparsexmc/classifier.h"

namespace sparsexmc {

struct Classifier::Impl {
  Impl(const ClassifierConfig& config, const int64_t* label_order, const int64_t* label_counts);

  /// Training on an input that already lies in place: the part behind the gathering of the features.
  template <class Forward, class Backward>
  StepResult step(const LabelsView& labels, int64_t batch, Forward&& forward, Backward&& backward);
  /// Top-k in slices of batch_size; `stage(first, rows, ldx)` puts the output layer's input into `inputs`.
  template <class Stage>
  void topk(int64_t rows, int64_t k, float* scores, int64_t* ids, Stage&& stage);

  void set_label_order(const int64_t* order);
  kernels::OptimizerStep optimizer_step() const;

  ClassifierConfig config;
  MemoryPlan memory_plan;
  std::unique_ptr<Context> context;
  Buffers buffers;
  FanInLayer output;
  std::optional<HiddenLayer> hidden;
  KeptBatches kept;
  Progress progress;

  float* inputs;          // [H, ldx]: what the output layer reads
  uint32_t* label_order;  // internal row -> user id
  uint32_t* label_rows;   // user id -> internal row
};

}  // namespace sparsexmc

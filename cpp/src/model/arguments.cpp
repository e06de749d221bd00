#include "model/arguments.h"

#include <charconv>
#include <cmath>
#include <string>

#include "finite.h"
#include "layers/positives.h"
#include "layers/sparse_batch.h"
#include "sparsexmc/error.h"

namespace sparsexmc {
namespace {

constexpr const char* nonfinite = ": NaN or Inf among the values; look for a diverging encoder or bad data";

/// The shortest text that reads back as the same number.
template <class Number>
std::string shortest(Number value) {
  char digits[32];
  return {digits, std::to_chars(digits, digits + sizeof digits, value).ptr};
}

}  // namespace

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

void check_embeddings(const TensorView& x, const ClassifierConfig& config, Device device) {
  if (config.sparse_input)
    throw TypeError("embeddings: a dense array, but the model was made with sparse_input; pass CSR rows");
  if (x.dtype != DType::float32 && x.dtype != DType::float16 && x.dtype != DType::bfloat16)
    throw TypeError(std::string("embeddings: dtype ") + dtype_name(x.dtype) + "; pass float32, float16 or bfloat16");
  if (x.cols != config.in_features)
    throw ArgumentError("embeddings: " + std::to_string(x.cols) + " columns, but in_features is " +
                        std::to_string(config.in_features) + "; pass [batch, in_features]");
  if (!(x.device == device))
    throw ArgumentError("embeddings: on " + x.device.name() + ", but the model is on " + device.name() +
                        "; move one to the other");
}

void check_gradient(const TensorView* gradient, const TensorView& x) {
  if (gradient == nullptr) return;
  if (gradient->rows != x.rows || gradient->cols != x.cols || !(gradient->device == x.device))
    throw ArgumentError("gradient: shape and device must be those of the embeddings");
  if (gradient->dtype != x.dtype && gradient->dtype != DType::float32)
    throw TypeError(std::string("gradient: dtype ") + dtype_name(gradient->dtype) +
                    "; it must be that of the embeddings, or float32");
}

void check_instance_weights(const float* weights, int64_t count) {
  for (int64_t i = 0; weights != nullptr && i < count; ++i)
    if (!(weights[i] >= 0.0f && std::isfinite(weights[i])))
      throw ArgumentError("instance_weights: " + std::to_string(weights[i]) + " for row " + std::to_string(i) +
                          "; use finite numbers >= 0");
}

void check_dense_step(const TensorView& embeddings, const LabelsView& labels, const TensorView* gradient,
                      const float* instance_weights, const ClassifierConfig& config, Device device) {
  check_embeddings(embeddings, config, device);
  check_batch(embeddings.rows, labels.rows, config.batch_size);
  check_labels(labels, config.num_labels);
  check_gradient(gradient, embeddings);
  check_instance_weights(instance_weights, embeddings.rows);
}

void check_sparse(const CsrView& features, const ClassifierConfig& config) {
  if (!config.sparse_input)
    throw TypeError(
        "features: CSR rows, but the model reads dense embeddings; make it with sparse_input and a hidden layer");
  check_features(features, config.in_features);
}

void check_k(int64_t k, int64_t num_labels) {
  if (k < 1 || k > num_labels)
    throw ArgumentError("k is " + std::to_string(k) + "; it must lie in 1.." + std::to_string(num_labels) +
                        " (num_labels)");
}

void check_total_steps(int64_t steps) {
  if (steps < 0) throw ArgumentError("total_steps is " + std::to_string(steps) + "; it must be >= 0, 0 if not known");
}

void check_lr(double lr) {
  if (!(lr >= 0.0) || !std::isfinite(static_cast<float>(lr)))
    throw ArgumentError("lr is " + shortest(lr) + "; it must be >= 0, and finite as fp32");
}

void check_trainable(bool trainable, const std::string& call) {
  if (!trainable)
    throw ArgumentError(call +
                        " needs what training keeps, but this classifier was loaded for prediction only; load "
                        "it with trainable=True");
}

void refuse_nonfinite(OnNonfinite on_nonfinite, const std::string& name) {
  if (on_nonfinite == OnNonfinite::raise)
    throw ArgumentError(name + nonfinite + ", or pass on_nonfinite=\"skip\" to leave such batches out");
}

void refuse_nonfinite(const std::string& name) { throw ArgumentError(name + nonfinite); }

bool is_finite(const StepResult& result) { return std::isfinite(result.loss) && std::isfinite(result.auxiliary_loss); }

void check_loss(const StepResult& result, int64_t step, float lr) {
  if (is_finite(result)) return;
  const double loss = std::isfinite(result.loss) ? result.auxiliary_loss : result.loss;
  throw DivergenceError("training has diverged: the loss of step " + std::to_string(step) + " is " +
                        (std::isnan(loss) ? "NaN" : shortest(loss)) + ", at a learning rate of " + shortest(lr) +
                        ", though its batch was finite; load the last good checkpoint, then lower lr, or scale down "
                        "the inputs or instance_weights");
}

void check_scores(const float* scores, int64_t first_row, int64_t rows, int64_t width, const char* what) {
  if (all_finite(scores, DType::float32, rows * width)) return;
  int64_t row = 0;
  while (all_finite(scores + row * width, DType::float32, width)) ++row;
  throw ArgumentError(std::string(what) + " of row " + std::to_string(first_row + row) +
                      " are not finite: the weights hold NaN or Inf, as after a training that diverged, or the input "
                      "is so large that sums overflow; load the last good checkpoint, or scale the input down");
}

}  // namespace sparsexmc

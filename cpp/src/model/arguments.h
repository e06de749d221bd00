// Checks of what a user passes to a step or a prediction.
#pragma once

#include <string>

#include "sparsexmc/classifier.h"

namespace sparsexmc {

void check_batch(int64_t rows, int64_t label_rows, int64_t batch_size);
void check_embeddings(const TensorView& embeddings, const ClassifierConfig& config, Device device);
/// @param gradient of the embeddings, or null
void check_gradient(const TensorView* gradient, const TensorView& embeddings);
/// @param weights [count], or null
void check_instance_weights(const float* weights, int64_t count);
/// All of these, and the labels.
void check_dense_step(const TensorView& embeddings, const LabelsView& labels, const TensorView* gradient,
                      const float* instance_weights, const ClassifierConfig& config, Device device);
void check_sparse(const CsrView& features, const ClassifierConfig& config);
void check_k(int64_t k, int64_t num_labels);

void check_lr(double lr);
void check_total_steps(int64_t steps);

/// @param call what the user asks for @throws ArgumentError unless the classifier is trainable
void check_trainable(bool trainable, const std::string& call);

/// @param name of the argument that holds NaN or Inf
/// @throws ArgumentError unless such batches are to be skipped
void refuse_nonfinite(OnNonfinite on_nonfinite, const std::string& name);
/// The same where there is no choice.
[[noreturn]] void refuse_nonfinite(const std::string& name);

/// Whether the losses are.
bool is_finite(const StepResult& result);
/// @param step its number, from 1  @param lr its learning rate
/// @throws DivergenceError if the losses of a step on a finite batch are not finite
void check_loss(const StepResult& result, int64_t step, float lr);
/// @param scores [rows, width] in host memory  @param what they are, such as "scores"
/// @throws ArgumentError naming the first row that holds NaN or Inf
void check_scores(const float* scores, int64_t first_row, int64_t rows, int64_t width, const char* what);

}  // namespace sparsexmc

// The classifier's side of prediction: checks, then the model's work on its device.
#include "model/arguments.h"
#include "model/classifier_impl.h"
#include "model/label_data.h"

namespace sparsexmc {
namespace {

void check_ranking(const ClassifierConfig& config, int64_t k, const float* label_weights) {
  check_k(k, config.num_labels);
  if (label_weights != nullptr) check_positive_numbers("label_weights", label_weights, config.num_labels);
}

void check_hidden(const ClassifierConfig& config) {
  if (!config.hidden) throw ArgumentError("the classifier has no hidden layer, so there are no activations of it");
}

}  // namespace

void Classifier::topk(const TensorView& embeddings, int64_t k, float* scores, int64_t* ids,
                      const float* label_weights) {
  check_embeddings(embeddings, config(), context().device());
  check_ranking(config(), k, label_weights);
  impl_->run_settled([&] { impl_->model.topk(embeddings, k, scores, ids, label_weights); });
}

void Classifier::topk(const CsrView& features, int64_t k, float* scores, int64_t* ids, const float* label_weights) {
  check_sparse(features, config());
  check_ranking(config(), k, label_weights);
  impl_->run_settled([&] { impl_->model.topk(features, k, scores, ids, label_weights); });
}

void Classifier::hidden_activations(const TensorView& embeddings, float* out) {
  check_embeddings(embeddings, config(), context().device());
  check_hidden(config());
  impl_->run_settled([&] { impl_->model.hidden_activations(embeddings, out); });
}

void Classifier::hidden_activations(const CsrView& features, float* out) {
  check_sparse(features, config());
  impl_->run_settled([&] { impl_->model.hidden_activations(features, out); });
}

}  // namespace sparsexmc

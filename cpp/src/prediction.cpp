// Prediction: the k best labels of every row.
#include <algorithm>

#include "arguments.h"
#include "classifier_impl.h"
#include "label_data.h"
#include "visit_device.h"

namespace sparsexmc {

void Classifier::Impl::gather(const TensorView& embeddings, int64_t first, const BatchSizes& sizes) {
  kernels::GatherColumns p;
  p.xt = features;
  p.nonfinite = &outcome->nonfinite;
  p.x = static_cast<const char*>(embeddings.data) +
        static_cast<size_t>(first * embeddings.cols) * dtype_size(embeddings.dtype);
  p.dtype = embeddings.dtype;
  p.batch = sizes.batch;
  p.features = embeddings.cols;
  p.ldx = sizes.ldx;
  p.compute = compute;
  p.scale = input_scale();
  visit_device(context->device(), [&](auto tag) { kernels::gather_columns(tag, *context, p); });
}

template <class Stage>
void Classifier::Impl::topk(int64_t rows, int64_t k, float* scores, int64_t* ids, const float* label_weights,
                            Stage&& stage) {
  settle(true);
  if (label_weights != nullptr) output.weigh_labels(*context, label_weights, labels.ids());
  for (int64_t first = 0; first < rows; first += config.batch_size) {
    const int64_t batch = std::min(config.batch_size, rows - first), places = batch * k;
    const BatchSizes sizes{batch, leading_dimension(batch)};
    // On a GPU a smaller batch has more lists per instance, within what the largest needs.
    const int64_t listed = on_cpu() ? batch : config.batch_size;
    auto* lists = buffers.at_least<kernels::Candidate>("topk.candidates", output.topk_lists() * listed * k);
    float* scores_out = on_cpu() ? scores + first * k : buffers.at_least<float>("topk.scores", places);
    int64_t* ids_out = on_cpu() ? ids + first * k : buffers.at_least<int64_t>("topk.ids", places);
    visit_device(context->device(), [&](auto tag) {
      kernels::fill_zero(tag, *context, outcome, sizeof *outcome);
      stage(first, sizes);
      output.topk(*context, scores_out, ids_out, lists, inputs, labels.device_ids(), sizes, k,
                  label_weights != nullptr);
      if (on_cpu()) return;
      StepOutcome seen;
      kernels::read_device(tag, *context, &seen, outcome, sizeof seen);
      if (seen.nonfinite != 0) refuse_nonfinite(OnNonfinite::raise, "embeddings");
      kernels::read_device(tag, *context, scores + first * k, scores_out, static_cast<size_t>(places) * sizeof(float));
      kernels::read_device(tag, *context, ids + first * k, ids_out, static_cast<size_t>(places) * sizeof(int64_t));
    });
  }
}

void Classifier::topk(const TensorView& embeddings, int64_t k, float* scores, int64_t* ids,
                      const float* label_weights) {
  Impl& m = *impl_;
  check_embeddings(embeddings, m.config, m.context->device());
  check_k(k, m.config.num_labels);
  if (label_weights != nullptr) check_positive_numbers("label_weights", label_weights, m.config.num_labels);
  const auto stage = [&](int64_t first, const BatchSizes& sizes) {
    m.gather(embeddings, first, sizes);
    if (m.on_cpu() && m.outcome->nonfinite != 0) refuse_nonfinite(OnNonfinite::raise, "embeddings");
    if (m.hidden) m.hidden->forward(*m.context, m.inputs, m.features, sizes);
  };
  m.run([&] { m.topk(embeddings.rows, k, scores, ids, label_weights, stage); });
}

void Classifier::topk(const CsrView& features, int64_t k, float* scores, int64_t* ids, const float* label_weights) {
  Impl& m = *impl_;
  check_sparse(features, m.config);
  check_k(k, m.config.num_labels);
  if (label_weights != nullptr) check_positive_numbers("label_weights", label_weights, m.config.num_labels);
  const auto stage = [&](int64_t first, const BatchSizes& sizes) {
    const SparseBatch batch = stage_features(m.buffers, features, first, sizes.batch, m.input_scale(), false);
    if (!batch.finite) refuse_nonfinite(OnNonfinite::raise, "features");
    m.hidden->forward(*m.context, m.inputs, batch, sizes);
  };
  m.run([&] { m.topk(features.rows, k, scores, ids, label_weights, stage); });
}

}  // namespace sparsexmc

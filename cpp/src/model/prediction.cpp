// Prediction: the k best labels of every row, and what the hidden layer makes of it.
#include <algorithm>
#include <vector>

#include "device/bfloat16.h"
#include "device/visit_device.h"
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
  p.compute = stored;
  p.scale = input_scale();
  visit_device(context->device(), [&](auto tag) { kernels::gather_columns(tag, *context, p); });
}

template <class Use>
void Classifier::Impl::predict(const TensorView& embeddings, Use&& use) {
  const auto stage = [&](int64_t first, const BatchSizes& sizes) {
    gather(embeddings, first, sizes);
    if (on_cpu() && outcome->nonfinite != 0) refuse_nonfinite(OnNonfinite::raise, "embeddings");
    if (hidden) hidden->forward(*context, inputs, features, sizes);
  };
  run([&] { by_slices(embeddings.rows, stage, use); });
}

template <class Use>
void Classifier::Impl::predict(const CsrView& rows, Use&& use) {
  const auto stage = [&](int64_t first, const BatchSizes& sizes) {
    const SparseBatch batch = stage_features(buffers, rows, first, sizes.batch, input_scale(), false);
    if (!batch.finite) refuse_nonfinite(OnNonfinite::raise, "features");
    hidden->forward(*context, inputs, batch, sizes);
  };
  run([&] { by_slices(rows.rows, stage, use); });
}

template <class Stage, class Use>
void Classifier::Impl::by_slices(int64_t rows, Stage&& stage, Use&& use) {
  settle(true);
  for (int64_t first = 0; first < rows; first += config.batch_size) {
    const int64_t batch = std::min(config.batch_size, rows - first);
    const BatchSizes sizes{batch, leading_dimension(batch)};
    visit_device(context->device(), [&](auto tag) {
      kernels::fill_zero(tag, *context, outcome, sizeof *outcome);
      stage(first, sizes);
      use(tag, first, sizes);
      if (on_cpu()) return;
      StepOutcome seen;
      kernels::read_device(tag, *context, &seen, outcome, sizeof seen);
      if (seen.nonfinite != 0) refuse_nonfinite(OnNonfinite::raise, "embeddings");
    });
  }
}

auto Classifier::Impl::ranking(int64_t k, float* scores, int64_t* ids, const float* label_weights) {
  return [=, this](auto tag, int64_t first, const BatchSizes& sizes) {
    const int64_t places = sizes.batch * k;
    // On a GPU a smaller batch has more lists per instance, within what the largest needs.
    const int64_t listed = on_cpu() ? sizes.batch : config.batch_size;
    auto* lists = buffers.at_least<kernels::Candidate>("topk.candidates", output.topk_lists() * listed * k);
    float* scores_out = on_cpu() ? scores + first * k : buffers.at_least<float>("topk.scores", places);
    int64_t* ids_out = on_cpu() ? ids + first * k : buffers.at_least<int64_t>("topk.ids", places);
    if (first == 0 && label_weights != nullptr) output.weigh_labels(*context, label_weights, labels.ids());
    output.topk(*context, scores_out, ids_out, lists, inputs, labels.device_ids(), sizes, k, label_weights != nullptr);
    if (on_cpu()) return;
    kernels::read_device(tag, *context, scores + first * k, scores_out, static_cast<size_t>(places) * sizeof(float));
    kernels::read_device(tag, *context, ids + first * k, ids_out, static_cast<size_t>(places) * sizeof(int64_t));
  };
}

auto Classifier::Impl::activations(float* out) {
  return [=, this](auto tag, int64_t first, const BatchSizes& sizes) {
    const int64_t units = config.layer_features();
    float* rows = out + first * units;
    visit_stored(stored, [&]<class T>(T) {
      const T* columns = static_cast<const T*>(inputs);  // [units, ldx]
      std::vector<T> copy;
      if (!on_cpu()) {
        copy.resize(static_cast<size_t>(units * sizes.ldx));
        kernels::read_device(tag, *context, copy.data(), inputs, copy.size() * sizeof(T));
        columns = copy.data();
      }
      // Instance by instance would touch a new line of memory with every number.
      constexpr int64_t block = 16;
      for (int64_t b = 0; b < sizes.batch; b += block)
        for (int64_t u = 0; u < units; ++u)
          for (int64_t i = b; i < std::min(b + block, sizes.batch); ++i)
            rows[i * units + u] = static_cast<float>(columns[u * sizes.ldx + i]);
    });
  };
}

void Classifier::topk(const TensorView& embeddings, int64_t k, float* scores, int64_t* ids,
                      const float* label_weights) {
  check_embeddings(embeddings, impl_->config, impl_->context->device());
  check_ranking(impl_->config, k, label_weights);
  impl_->predict(embeddings, impl_->ranking(k, scores, ids, label_weights));
}

void Classifier::topk(const CsrView& features, int64_t k, float* scores, int64_t* ids, const float* label_weights) {
  check_sparse(features, impl_->config);
  check_ranking(impl_->config, k, label_weights);
  impl_->predict(features, impl_->ranking(k, scores, ids, label_weights));
}

void Classifier::hidden_activations(const TensorView& embeddings, float* out) {
  check_embeddings(embeddings, impl_->config, impl_->context->device());
  check_hidden(impl_->config);
  impl_->predict(embeddings, impl_->activations(out));
}

void Classifier::hidden_activations(const CsrView& features, float* out) {
  check_sparse(features, impl_->config);
  impl_->predict(features, impl_->activations(out));
}

}  // namespace sparsexmc

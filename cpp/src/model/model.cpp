#include "model/model.h"

#include <algorithm>
#include <type_traits>
#include <utility>

#include "device/bfloat16.h"
#include "device/dtypes.h"
#include "layers/fan_in_layer.h"
#include "model/arguments.h"
#include "model/inventory.h"
#include "model/label_data.h"
#include "sparsexmc/interrupt.h"

namespace sparsexmc {
namespace {

constexpr double products_between_checks = 3e9;  // of a thread, a tenth of a second or a few of an old CPU
constexpr int64_t fewest_rows = 64;              // fewer would not keep the vectors full

/// The configuration of a model in a context of the caller: its threads are the context's.
ClassifierConfig in_context(ClassifierConfig config, const Context* context) {
  if (context == nullptr) return config;
  const Device wanted = Device::parse(config.device), has = context->device();
  if (wanted.name() != has.name())
    throw ArgumentError("device is " + wanted.name() + ", but the context is of " + has.name() +
                        "; configure the classifier for the device of its context");
  const int threads = const_cast<Context*>(context)->threads().num_threads();
  if (config.num_threads != 0 && config.num_threads != threads)
    throw ArgumentError("num_threads is " + std::to_string(config.num_threads) + ", but the context has " +
                        std::to_string(threads) + "; leave it 0 for a classifier in a context of yours");
  config.num_threads = threads;
  return config;
}

std::shared_ptr<Context> make_context(const ClassifierConfig& config) {
  return std::make_shared<Context>(Device::parse(config.device), config.num_threads, config.memory_limit);
}

}  // namespace

Model::Model(const ClassifierConfig& wanted, const Origin& origin)
    : config(in_context(wanted, origin.context.get())),
      trainable(origin.trainable),
      memory_plan(plan(config, trainable)),
      context(origin.context ? origin.context : make_context(config)),
      compute(choose_compute_dtype(config, context->device())),
      stored(choose_stored_dtype(compute, context->device())),
      tensors(tensor_specs(config, trainable)),
      buffers(*context, memory_plan),
      output(std::make_unique<FanInLayer>(config, *context, buffers, compute, trainable)),
      inputs(buffers.get<void>("batch.inputs")),
      features(config.hidden ? buffers.find<void>("batch.features") : inputs),
      outcome(buffers.get<StepOutcome>(outcome_name)) {
  const DeviceGuard guard(context->device());
  const LabelData& given = origin.labels;
  output->labels().initialise(given.order, given.counts);
  if (config.num_instances > 0) {
    auto* counts = buffers.host_table<uint32_t>(label_counts_tensor(config).name);
    for (int64_t label = 0; label < config.num_labels; ++label)
      counts[label] = origin.restored ? 0 : static_cast<uint32_t>(given.counts[label]);
  }
  output->initialise();
  if (!origin.restored) {
    const std::vector<float> weights = positive_weights(config, given);
    output->set_positive_weights(weights);
    output->set_biases(starting_biases(config, given, weights));
  }
  if (config.hidden) {
    hidden.emplace(config, buffers, stored, trainable);
    hidden->initialise(*context);
  }
  progress.lr = config.optimizer.lr();
  momentum = config.optimizer.momentum();
}

StepOutcome Model::read_outcome() {
  StepOutcome seen;
  visit_device(context->device(), [&](auto tag) { kernels::read_device(tag, *context, &seen, outcome, sizeof seen); });
  return seen;
}

void Model::gather(const TensorView& embeddings, int64_t first, const BatchSizes& sizes) {
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

bool Model::forward(const TensorView& embeddings, int64_t first, OnNonfinite on_nonfinite, const BatchSizes& sizes) {
  gather(embeddings, first, sizes);
  if (on_cpu() && outcome->nonfinite != 0) {
    refuse_nonfinite(on_nonfinite, "embeddings");
    return false;
  }
  if (hidden) hidden->forward(*context, inputs, features, sizes);
  return true;
}

bool Model::forward(const SparseBatch& batch, OnNonfinite on_nonfinite, const BatchSizes& sizes) {
  if (!batch.finite) {
    refuse_nonfinite(on_nonfinite, "features");
    return false;
  }
  hidden->forward(*context, inputs, batch, sizes);
  return true;
}

bool Model::forward_slice(const TensorView& embeddings, int64_t first, const BatchSizes& sizes) {
  return forward(embeddings, first, OnNonfinite::skip, sizes);
}

bool Model::forward_slice(const CsrView& rows, int64_t first, const BatchSizes& sizes) {
  return forward(stage(rows, first, sizes.batch, false), OnNonfinite::skip, sizes);
}

int64_t Model::rows_of_a_slice() const {
  if (!on_cpu()) return config.batch_size;
  const int64_t tail = config.fan_in ? config.num_labels - config.dense_labels : 0;
  double products = static_cast<double>(config.num_labels - tail) * static_cast<double>(config.layer_features()) +
                    static_cast<double>(tail) * static_cast<double>(config.fan_in.value_or(0));
  if (config.hidden && !config.sparse_input)
    products += static_cast<double>(config.in_features) * static_cast<double>(config.hidden->features);
  const double rows = products_between_checks * context->threads().num_threads() / products;
  if (rows >= static_cast<double>(config.batch_size)) return config.batch_size;
  return std::min(config.batch_size, std::max<int64_t>(static_cast<int64_t>(rows) / fewest_rows, 1) * fewest_rows);
}

template <class Rows, class Use, class Check>
void Model::by_slices(const Rows& rows, Use&& use, Check&& check) {
  const int64_t at_a_time = rows_of_a_slice();
  for (int64_t first = 0; first < rows.rows; first += at_a_time) {
    InterruptScope::check();
    const BatchSizes sizes = sizes_of(std::min(at_a_time, rows.rows - first));
    clear_outcome();
    bool finite = forward_slice(rows, first, sizes);
    if (finite) {
      use(first, sizes);
      finite = on_cpu() || read_outcome().nonfinite == 0;
    }
    if (!finite) refuse_nonfinite(std::is_same_v<Rows, TensorView> ? "embeddings" : "features");
    check(first, sizes.batch);
  }
}

template <class Rows>
void Model::topk(const Rows& rows, int64_t k, float* scores, int64_t* ids, const float* label_weights) {
  uint64_t weighed = 0;  // the call that made the biases of the labels
  by_slices(
      rows,
      [&](int64_t first, const BatchSizes& sizes) {
        // Once, and again after a call that came between two slices (see InterruptScope).
        if (label_weights != nullptr && std::exchange(weighed, calls_) != calls_) output->weigh_labels(label_weights);
        rank(scores + first * k, ids + first * k, k, sizes, label_weights != nullptr);
      },
      [&](int64_t first, int64_t count) { check_scores(scores + first * k, first, count, k, "scores"); });
}

void Model::rank(float* scores, int64_t* ids, int64_t k, const BatchSizes& sizes, bool weighted) {
  if (on_cpu()) return output->topk(scores, ids, inputs, sizes, k, weighted);
  const int64_t places = sizes.batch * k;
  auto* device_scores = buffers.at_least<float>("topk.scores", places);
  auto* device_ids = buffers.at_least<int64_t>("topk.ids", places);
  output->topk(device_scores, device_ids, inputs, sizes, k, weighted);
  visit_device(context->device(), [&](auto tag) {
    kernels::read_device(tag, *context, scores, device_scores, static_cast<size_t>(places) * sizeof(float));
    kernels::read_device(tag, *context, ids, device_ids, static_cast<size_t>(places) * sizeof(int64_t));
  });
}

template <class Rows>
void Model::hidden_activations(const Rows& rows, float* out) {
  const int64_t units = config.layer_features();
  by_slices(
      rows, [&](int64_t first, const BatchSizes& sizes) { copy_activations(out + first * units, sizes); },
      [&](int64_t first, int64_t count) { check_scores(out + first * units, first, count, units, "activations"); });
}

void Model::copy_activations(float* rows, const BatchSizes& sizes) {
  const int64_t units = config.layer_features();
  visit_stored(stored, [&]<class T>(T) {
    const T* columns = static_cast<const T*>(inputs);  // [units, ldx]
    std::vector<T> copy;
    if (!on_cpu()) {
      copy.resize(static_cast<size_t>(units * sizes.ldx));
      visit_device(context->device(), [&](auto tag) {
        kernels::read_device(tag, *context, copy.data(), inputs, copy.size() * sizeof(T));
      });
      columns = copy.data();
    }
    // Instance by instance would touch a new line of memory with every number.
    constexpr int64_t block = 16;
    for (int64_t b = 0; b < sizes.batch; b += block)
      for (int64_t u = 0; u < units; ++u)
        for (int64_t i = b; i < std::min(b + block, sizes.batch); ++i)
          rows[i * units + u] = static_cast<float>(columns[u * sizes.ldx + i]);
  });
}

template void Model::topk(const TensorView&, int64_t, float*, int64_t*, const float*);
template void Model::topk(const CsrView&, int64_t, float*, int64_t*, const float*);
template void Model::hidden_activations(const TensorView&, float*);
template void Model::hidden_activations(const CsrView&, float*);

}  // namespace sparsexmc

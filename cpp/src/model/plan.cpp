// The memory plan: one list of named sizes, which the classifier then allocates as it stands.
#include "sparsexmc/plan.h"

#include <algorithm>
#include <cstdio>
#include <iterator>
#include <type_traits>

#include "device/dtypes.h"
#include "device/visit_device.h"
#include "layers/hidden_layer.h"
#include "layers/kept_batches.h"
#include "layers/label_clusters.h"
#include "layers/label_order.h"
#include "layers/normaliser.h"
#include "layers/output_layer.h"
#include "layers/segment_tensors.h"
#include "model/inventory.h"
#include "model/step_results.h"
#include "sparsexmc/error.h"
#include "sparsexmc/thread_pool.h"

namespace sparsexmc {

namespace {

std::string format_bytes(size_t bytes) {
  char text[32];
  if (bytes < size_t{10} << 10)
    std::snprintf(text, sizeof text, "%zu B", bytes);
  else if (bytes < size_t{10} << 20)
    std::snprintf(text, sizeof text, "%.1f KiB", static_cast<double>(bytes) / 1024);
  else if (bytes < size_t{10} << 30)
    std::snprintf(text, sizeof text, "%.1f MiB", static_cast<double>(bytes) / (1 << 20));
  else
    std::snprintf(text, sizeof text, "%.1f GiB", static_cast<double>(bytes) / (1 << 30));
  return text;
}

/// The device and its machine, on which sizes depend besides the configuration.
template <class Tag>
struct Target {
  Tag tag;
  kernels::Machine machine;
  int64_t ldx;     // of the largest batch
  DType compute;   // dtype of what the products of the output layer read
  DType stored;    // of a batch's matrices
  bool trainable;  // or made for prediction only

  /// Whether the host sees the device's memory. Then its preparations lie there at once, with room for sorting.
  static constexpr bool is_cpu = std::is_same_v<Tag, kernels::Cpu>;
  int64_t positives(const ClassifierConfig& config) const {
    return (is_cpu ? 2 : 1) * config.batch_size * config.labels_per_instance;
  }
};

class PlanBuilder {
 public:
  explicit PlanBuilder(bool is_cpu) : is_cpu_(is_cpu) {}

  void add(const std::string& name, int64_t count, size_t element) { add_to(plan.entries, name, count, element); }
  /// A table that only the host reads.
  void add_host_table(const std::string& name, int64_t count, size_t element) {
    add_to(is_cpu_ ? plan.entries : plan.host_entries, name, count, element);
  }
  void add(const std::vector<TensorSpec>& specs) {
    for (const TensorSpec& spec : specs) {
      const auto element = static_cast<size_t>(spec.element_in_memory());
      if (spec.layout != Layout::host_table) add(spec.name, spec.count_in_memory(), element);
      if (spec.layout == Layout::host_table || (spec.layout == Layout::order && !is_cpu_))
        add_host_table(spec.name, spec.count_in_memory(), element);
    }
  }

  MemoryPlan plan;

 private:
  static void add_to(std::vector<MemoryEntry>& entries, const std::string& name, int64_t count, size_t element) {
    if (count > 0) entries.push_back({name, MemoryPool::rounded(static_cast<size_t>(count) * element)});
  }

  bool is_cpu_;
};

template <class Tag>
void plan_hidden(PlanBuilder& b, const ClassifierConfig& config, const Target<Tag>& target) {
  const int64_t units = config.hidden->features, ldx = target.ldx;
  b.add(held(hidden_tensors(config).list(), config, target.trainable));
  if (config.sparse_input) {
    const int64_t nonzeros = config.batch_size * config.features_per_instance;
    b.add("batch.rows", ldx * round_up(units, 16), sizeof(float));
    b.add("batch.row_starts", config.batch_size + 1, sizeof(int64_t));
    b.add("batch.columns", nonzeros, sizeof(int32_t));
    b.add("batch.values", nonzeros, sizeof(float));
    if (!target.trainable) return;
    b.add("batch.by_feature", (target.is_cpu ? 2 : 1) * nonzeros, sizeof(kernels::SparseEntry));
    b.add("batch.feature_runs", nonzeros + 1, sizeof(int64_t));
  } else {
    b.add("batch.features", config.in_features * ldx, dtype_size(target.stored));
    int64_t scratch =
        kernels::hidden_forward_scratch(target.tag, target.machine, config.in_features, units, ldx, target.stored);
    if (target.trainable) {
      b.add("batch.feature_gradients", config.in_features * ldx, sizeof(float));
      scratch = std::max(scratch, kernels::hidden_backward_scratch(target.tag, target.machine, config.in_features,
                                                                   units, ldx, target.stored));
    }
    b.add("scratch.hidden", scratch, 1);
  }
}

template <class Tag>
void plan_topk(PlanBuilder& b, const ClassifierConfig& config, const Target<Tag>& target,
               const std::vector<kernels::Segment>& segments) {
  const kernels::TopKSizes sizes =
      kernels::topk_sizes(target.tag, target.machine, segments.data(), std::ssize(segments), config.batch_size);
  const int64_t places = config.batch_size * std::min(config.topk, config.num_labels);
  b.add("scratch.topk", sizes.scratch_bytes, 1);
  b.add("topk.candidates", sizes.lists * places, sizeof(kernels::Candidate));
  if (target.is_cpu) return;  // results go to the caller's arrays
  b.add("topk.scores", places, sizeof(float));
  b.add("topk.ids", places, sizeof(int64_t));
}

/// Buffers of a training step, beside the tensors.
template <class Tag>
void plan_step(PlanBuilder& b, const ClassifierConfig& config, const Target<Tag>& target,
               const kernels::StepSizes& step, int64_t biases) {
  b.add("batch.gradients", std::max(step.dx_floats, biases), sizeof(float));  // see FanInLayer::weigh_labels
  b.add("batch.losses", loss_sums(config) * step.losses + (is_normalised(config.loss) ? 1 : 0), sizeof(double));
  b.add(outcome_name, 1, sizeof(StepOutcome));
  b.add("batch.positives", target.positives(config), sizeof(kernels::Positive));
  b.add(instance_weights_name, target.ldx, sizeof(float));
  b.add("scratch.step", step.scratch_bytes, 1);
}

/// Pass 1 of a normalised loss.
template <class Tag>
void plan_normaliser(PlanBuilder& b, const ClassifierConfig& config, const Target<Tag>& target,
                     const std::vector<kernels::Segment>& segments) {
  const kernels::NormaliseSizes sizes = kernels::normalise_sizes(
      target.tag, target.machine, segments.data(), std::ssize(segments), config.batch_size, target.compute);
  b.add("batch.statistics", sizes.parts * 4 * target.ldx, sizeof(float));
  b.add(normaliser_name, 4 * target.ldx, sizeof(float));
  b.add("scratch.normalise", sizes.scratch_bytes, 1);
}

template <class Tag>
void plan_rewiring(PlanBuilder& b, const ClassifierConfig& config, const Target<Tag>& target) {
  const int64_t kept = config.rewiring->kept_batches();
  int64_t scratch = 0;
  for (const SegmentShape& s : segment_shapes(config))
    if (!s.dense)
      scratch = std::max(scratch, kernels::rewire_scratch(target.tag, target.machine,
                                                          segment_sizes(s, config.weight_dtype), target.ldx, kept));
  const int64_t positives = kept * config.batch_size * config.labels_per_instance;
  b.add("scratch.rewiring", scratch, 1);
  b.add(kept_inputs_name, kept * config.layer_features() * target.ldx, dtype_size(target.stored));
  b.add(kept_weights_name, kept * target.ldx, sizeof(float));
  if (is_normalised(config.loss)) b.add(kept_normalisers_name, kept * 4 * target.ldx, sizeof(float));
  b.add(kept_positives_name, positives, sizeof(kernels::Positive));
  if (!target.is_cpu) b.add_host_table(kept_positives_name, positives, sizeof(kernels::Positive));
}

template <class Tag>
MemoryPlan build(const ClassifierConfig& config, const Target<Tag>& target) {
  const auto of_model = [&](const std::vector<TensorSpec>& specs) { return held(specs, config, target.trainable); };
  PlanBuilder b(target.is_cpu);
  std::vector<kernels::Segment> segments;
  int64_t biases = 0;
  for (const SegmentShape& s : segment_shapes(config)) {
    segments.push_back(segment_sizes(s, config.weight_dtype));
    biases += s.padded_rows();
  }
  b.add(of_model(output_tensors(config)));
  b.add(of_model(auxiliary_tensors(config)));
  if (config.auxiliary && target.trainable)
    b.add(cluster_positives_name, target.positives(config), sizeof(kernels::Positive));
  b.add({label_order_tensor(config)});
  b.add_host_table(label_rows_name, config.num_labels, sizeof(uint32_t));
  if (config.num_instances > 0) b.add({label_counts_tensor(config)});
  if (config.hidden) plan_hidden(b, config, target);
  b.add("batch.inputs", config.layer_features() * target.ldx, dtype_size(target.stored));
  if (target.trainable) {
    std::vector<kernels::Segment> trained = segments;
    if (config.auxiliary) trained.push_back(segment_sizes(*auxiliary_shape(config), config.weight_dtype));
    const kernels::StepSizes step = kernels::step_sizes(target.tag, target.machine, trained.data(), std::ssize(trained),
                                                        config.batch_size, target.compute);
    plan_step(b, config, target, step, biases);
    if (is_normalised(config.loss)) plan_normaliser(b, config, target, segments);
  } else {
    b.add(outcome_name, 1, sizeof(StepOutcome));
    b.add("topk.biases", biases, sizeof(float));
  }
  plan_topk(b, config, target, segments);
  if (config.rewiring && target.trainable) plan_rewiring(b, config, target);
  return std::move(b.plan);
}

MemoryPlan build(const ClassifierConfig& config, bool trainable) {
  const Device device = Device::parse(config.device);
  const DType compute = choose_compute_dtype(config, device);
  const int threads = ThreadPool(config.num_threads).num_threads();
  return visit_device(device, [&](auto tag) {
    return build(config, Target<decltype(tag)>{tag, kernels::machine(tag, device, threads),
                                               kernels::leading_dimension(tag, config.batch_size), compute,
                                               choose_stored_dtype(compute, device), trainable});
  });
}

}  // namespace

size_t MemoryPlan::total() const {
  size_t sum = 0;
  for (const MemoryEntry& entry : entries) sum += entry.bytes;
  return sum;
}

size_t MemoryPlan::bytes(const std::string& name) const {
  for (const MemoryEntry& entry : entries)
    if (entry.name == name) return entry.bytes;
  return 0;
}

std::string MemoryPlan::table() const {
  size_t wide = 5;
  for (const MemoryEntry& entry : entries) wide = std::max(wide, entry.name.size());
  const double sum = static_cast<double>(std::max<size_t>(total(), 1));
  std::string text;
  const auto line = [&](const std::string& name, size_t bytes) {
    char numbers[64];
    std::snprintf(numbers, sizeof numbers, "%12s  %5.1f %%\n", format_bytes(bytes).c_str(),
                  100.0 * static_cast<double>(bytes) / sum);
    text += name + std::string(wide - name.size() + 2, ' ') + numbers;
  };
  for (const MemoryEntry& entry : entries) line(entry.name, entry.bytes);
  line("total", total());
  return text;
}

MemoryPlan plan(const ClassifierConfig& config, bool trainable) {
  config.check();
  MemoryPlan result = build(config, trainable);
  if (config.memory_limit != 0 && result.total() > config.memory_limit)
    throw MemoryPlanError(
        "the plan needs " + format_bytes(result.total()) + ", but memory_limit is " +
        format_bytes(config.memory_limit) +
        "; lower fan_in, dense_labels, hidden, batch_size, labels_per_instance or grow_batches, raise "
        "group_size (fewer indices), use SGD without momentum, leave out average, or raise memory_limit\n" +
        result.table());
  return result;
}

}  // namespace sparsexmc

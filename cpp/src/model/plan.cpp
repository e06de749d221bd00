// The memory plan: one list of named sizes, which the classifier then allocates as it stands.
#include "sparsexmc/plan.h"

#include <algorithm>
#include <cstdio>
#include <type_traits>

#include "device/dtypes.h"
#include "device/visit_device.h"
#include "layers/shapes.h"
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

/// What the sizes depend on besides the configuration.
template <class Tag>
struct Target {
  Tag tag;
  kernels::Machine machine;
  int64_t ldx;    // of the largest batch
  DType compute;  // dtype of what the products of the output layer read
  DType stored;   // of a batch's matrices

  /// Does the host see the device's memory? Then what it prepares lies there at once, with room for sorting.
  static constexpr bool is_cpu = std::is_same_v<Tag, kernels::Cpu>;
};

class PlanBuilder {
 public:
  void add(const std::string& name, int64_t count, size_t element) {
    if (count > 0) plan.entries.push_back({name, MemoryPool::rounded(static_cast<size_t>(count) * element)});
  }
  /// A parameter and its optimizer state.
  void add_trained(const std::string& name, int64_t count, DType dtype, const std::vector<std::string>& slots) {
    add(name, count, dtype_size(dtype));
    for (const std::string& slot : slots) add("optimizer." + name + "." + slot, count, sizeof(float));
  }

  MemoryPlan plan;
};

template <class Tag>
void plan_hidden(PlanBuilder& b, const ClassifierConfig& config, const Target<Tag>& target) {
  const int64_t units = config.hidden->features, ldx = target.ldx;
  const std::vector<std::string> slots = state_slots(config.optimizer);
  b.add_trained("hidden.weight", config.in_features * units, DType::float32, slots);
  b.add_trained("hidden.bias", units, DType::float32, slots);
  if (config.sparse_input) {
    const int64_t nonzeros = config.batch_size * config.features_per_instance;
    b.add("batch.rows", ldx * round_up(units, 16), sizeof(float));
    b.add("batch.row_starts", config.batch_size + 1, sizeof(int64_t));
    b.add("batch.columns", nonzeros, sizeof(int32_t));
    b.add("batch.values", nonzeros, sizeof(float));
    b.add("batch.by_feature", (target.is_cpu ? 2 : 1) * nonzeros, sizeof(kernels::SparseEntry));
    b.add("batch.feature_runs", nonzeros + 1, sizeof(int64_t));
  } else {
    b.add("batch.features", config.in_features * ldx, dtype_size(target.stored));
    b.add("batch.feature_gradients", config.in_features * ldx, sizeof(float));
    b.add("scratch.hidden",
          kernels::hidden_backward_scratch(target.tag, target.machine, config.in_features, units, ldx), 1);
  }
}

/// @returns its segment
template <class Tag>
kernels::Segment plan_auxiliary(PlanBuilder& b, const ClassifierConfig& config, const Target<Tag>& target) {
  const std::vector<std::string> slots = state_slots(config.optimizer);
  const SegmentShape s = *auxiliary_shape(config);
  b.add_trained("auxiliary.weights", s.weights(), config.weight_dtype, slots);
  b.add_trained("auxiliary.bias", s.padded_rows(), DType::float32, slots);
  if (target.is_cpu) b.add("auxiliary.clusters", config.num_labels, sizeof(uint32_t));
  b.add("auxiliary.positives", (target.is_cpu ? 2 : 1) * config.batch_size * config.labels_per_instance,
        sizeof(kernels::Positive));
  return segment_sizes(s, config.weight_dtype);
}

template <class Tag>
void plan_topk(PlanBuilder& b, const ClassifierConfig& config, const Target<Tag>& target,
               const kernels::TopKSizes& sizes) {
  const int64_t places = config.batch_size * std::min(config.topk, config.num_labels);
  b.add("scratch.topk", sizes.scratch_bytes, 1);
  b.add("topk.candidates", sizes.lists * places, sizeof(kernels::Candidate));
  if (target.is_cpu) return;  // results go to the caller's arrays
  b.add("topk.scores", places, sizeof(float));
  b.add("topk.ids", places, sizeof(int64_t));
}

template <class Tag>
void plan_rewiring(PlanBuilder& b, const ClassifierConfig& config, const Target<Tag>& target) {
  const int64_t kept = config.rewiring->kept_batches();
  int64_t scratch = 0;
  for (const SegmentShape& s : segment_shapes(config))
    if (!s.dense)
      scratch = std::max(scratch, kernels::rewire_scratch(target.tag, target.machine,
                                                          segment_sizes(s, config.weight_dtype), target.ldx, kept));
  b.add("scratch.rewiring", scratch, 1);
  b.add("rewiring.kept_inputs", kept * config.layer_features() * target.ldx, dtype_size(target.stored));
  b.add("rewiring.kept_positives", kept * config.batch_size * config.labels_per_instance, sizeof(kernels::Positive));
}

template <class Tag>
MemoryPlan build(const ClassifierConfig& config, const Target<Tag>& target) {
  const std::vector<std::string> slots = state_slots(config.optimizer);
  PlanBuilder b;
  std::vector<kernels::Segment> segments;
  int64_t biases = 0;
  for (const SegmentShape& s : segment_shapes(config)) {
    b.add_trained(s.name + ".weights", s.weights(), config.weight_dtype, slots);
    if (!s.dense) b.add(s.name + ".indices", s.groups * s.fan_in, s.wide_indices ? sizeof(uint32_t) : sizeof(uint16_t));
    b.add_trained(s.name + ".bias", s.padded_rows(), DType::float32, slots);
    if (config.positive_weights != PositiveWeights::none) b.add(s.name + ".positive_weights", s.rows, sizeof(float));
    segments.push_back(segment_sizes(s, config.weight_dtype));
    biases += s.padded_rows();
  }
  const auto count = static_cast<int64_t>(segments.size());
  if (config.auxiliary) segments.push_back(plan_auxiliary(b, config, target));
  const kernels::StepSizes step =
      kernels::step_sizes(target.tag, target.machine, segments.data(), static_cast<int64_t>(segments.size()),
                          config.batch_size, target.compute);
  b.add("label_order", config.num_labels, sizeof(uint32_t));
  if (target.is_cpu) b.add("label_rows", config.num_labels, sizeof(uint32_t));
  if (target.is_cpu && config.num_instances > 0) b.add("label_counts", config.num_labels, sizeof(uint32_t));
  if (config.hidden) plan_hidden(b, config, target);
  b.add("batch.inputs", config.layer_features() * target.ldx, dtype_size(target.stored));
  b.add("batch.gradients", std::max(step.dx_floats, biases), sizeof(float));  // see FanInLayer::weigh_labels
  b.add("batch.losses", (config.auxiliary ? 2 : 1) * step.losses, sizeof(double));
  b.add("batch.outcome", 1, sizeof(StepOutcome));
  b.add("batch.positives", (target.is_cpu ? 2 : 1) * config.batch_size * config.labels_per_instance,
        sizeof(kernels::Positive));
  b.add("scratch.step", step.scratch_bytes, 1);
  plan_topk(b, config, target,
            kernels::topk_sizes(target.tag, target.machine, segments.data(), count, config.batch_size));
  if (config.rewiring) plan_rewiring(b, config, target);
  return std::move(b.plan);
}

MemoryPlan build(const ClassifierConfig& config) {
  const Device device = Device::parse(config.device);
  const DType compute = choose_compute_dtype(config, device);
  const int threads = ThreadPool(config.num_threads).num_threads();
  return visit_device(device, [&](auto tag) {
    return build(config, Target<decltype(tag)>{tag, kernels::machine(tag, device, threads),
                                               kernels::leading_dimension(tag, config.batch_size), compute,
                                               choose_stored_dtype(compute, device)});
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

MemoryPlan plan(const ClassifierConfig& config) {
  config.check();
  MemoryPlan result = build(config);
  if (config.memory_limit != 0 && result.total() > config.memory_limit)
    throw MemoryPlanError(
        "the plan needs " + format_bytes(result.total()) + ", but memory_limit is " +
        format_bytes(config.memory_limit) +
        "; lower fan_in, dense_labels, hidden, batch_size, labels_per_instance or grow_batches, raise "
        "group_size (fewer indices), use SGD without momentum, or raise memory_limit\n" +
        result.table());
  return result;
}

}  // namespace sparsexmc

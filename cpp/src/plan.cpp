// The memory plan: one list of named sizes, which the classifier then allocates as it stands.
#include "sparsexmc/plan.h"

#include <algorithm>
#include <cstdio>

#include "shapes.h"
#include "sparsexmc/error.h"
#include "sparsexmc/thread_pool.h"
#include "visit_device.h"

namespace sparsexmc {

namespace {

constexpr int64_t dense_group = 32;  // labels per group of a dense segment: enough to run at the speed of the registers

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

class PlanBuilder {
 public:
  void add(const std::string& name, int64_t count, size_t element) {
    if (count > 0) plan.entries.push_back({name, MemoryPool::rounded(static_cast<size_t>(count) * element)});
  }
  /// A parameter and its optimizer state.
  void add_trained(const std::string& name, int64_t count, const std::vector<std::string>& slots) {
    add(name, count, sizeof(float));
    for (const std::string& slot : slots) add("optimizer." + name + "." + slot, count, sizeof(float));
  }
  /// Scratch of every worker, each on its own cache lines.
  void add_scratch(const std::string& name, int64_t floats, int64_t workers) {
    add(name, round_up(floats, MemoryPool::granularity / sizeof(float)) * workers, sizeof(float));
  }

  MemoryPlan plan;
};

void plan_hidden(PlanBuilder& b, const ClassifierConfig& config, int64_t ldx, int64_t threads) {
  const int64_t units = config.hidden->features;
  const std::vector<std::string> slots = state_slots(config.optimizer);
  b.add_trained("hidden.weight", config.in_features * units, slots);
  b.add_trained("hidden.bias", units, slots);
  if (config.sparse_input) {
    const int64_t nonzeros = config.batch_size * config.features_per_instance;
    b.add("batch.rows", ldx * round_up(units, kernels::column_padding), sizeof(float));
    b.add("batch.row_starts", config.batch_size + 1, sizeof(int64_t));
    b.add("batch.columns", nonzeros, sizeof(int32_t));
    b.add("batch.values", nonzeros, sizeof(float));
    b.add("batch.by_feature", 2 * nonzeros, sizeof(kernels::SparseEntry));
    b.add("batch.feature_runs", nonzeros + 1, sizeof(int64_t));
  } else {
    b.add("batch.features", config.in_features * ldx, sizeof(float));
    b.add("batch.feature_gradients", config.in_features * ldx, sizeof(float));
    b.add("scratch.hidden",
          visit_device({}, [&](auto device) { return kernels::hidden_backward_scratch(device, units, ldx, threads); }),
          sizeof(float));
  }
}

void plan_rewiring(PlanBuilder& b, const ClassifierConfig& config, int64_t ldx, int64_t threads) {
  const Rewiring& rewiring = *config.rewiring;
  const int64_t kept = rewiring.method == RewiringMethod::rigl ? rewiring.grow_batches : 0;
  int64_t scratch = 0;
  for (const SegmentShape& s : segment_shapes(config)) {
    if (s.dense) continue;
    kernels::Segment segment;
    segment.rows = s.rows;
    segment.groups = s.groups;
    segment.group_size = s.group_size;
    segment.fan_in = s.fan_in;
    segment.in_features = s.in_features;
    scratch = std::max(scratch, visit_device({}, [&](auto device) {
                         return kernels::rewire_scratch(device, segment, ldx, kept, threads);
                       }));
  }
  b.add("scratch.rewiring", scratch, 1);
  b.add("rewiring.kept_inputs", kept * config.layer_features() * ldx, sizeof(float));
  b.add("rewiring.kept_positives", kept * config.batch_size * config.labels_per_instance, sizeof(kernels::Positive));
}

MemoryPlan build(const ClassifierConfig& config) {
  const int64_t threads = ThreadPool(config.num_threads).num_threads();
  const int64_t ldx = leading_dimension(config.batch_size);
  const int64_t features = config.layer_features();
  const std::vector<SegmentShape> segments = segment_shapes(config);
  const std::vector<std::string> slots = state_slots(config.optimizer);
  PlanBuilder b;
  int64_t step_scratch = 0, topk_scratch = 0;
  for (const SegmentShape& s : segments) {
    b.add_trained(s.name + ".weights", s.weights(), slots);
    if (!s.dense) b.add(s.name + ".indices", s.groups * s.fan_in, s.wide_indices ? sizeof(uint32_t) : sizeof(uint16_t));
    b.add_trained(s.name + ".bias", s.padded_rows(), slots);
    visit_device({}, [&](auto device) {
      step_scratch =
          std::max(step_scratch, kernels::fan_in_step_scratch(device, s.group_size, s.fan_in, s.in_features));
      topk_scratch = std::max(topk_scratch, kernels::topk_scratch(device, s.group_size, ldx));
    });
  }
  b.add("label_order", config.num_labels, sizeof(uint32_t));
  b.add("label_rows", config.num_labels, sizeof(uint32_t));
  if (config.hidden) plan_hidden(b, config, ldx, threads);
  b.add("batch.inputs", features * ldx, sizeof(float));
  b.add("batch.gradients", dx_parts(config) * features * ldx, sizeof(float));
  b.add("batch.losses", dx_parts(config), sizeof(double));
  b.add("batch.positives", 2 * config.batch_size * config.labels_per_instance, sizeof(kernels::Positive));
  b.add_scratch("scratch.step", step_scratch, threads);
  b.add_scratch("scratch.topk", topk_scratch, threads);
  b.add("topk.candidates", threads * config.batch_size * std::min(config.topk, config.num_labels),
        sizeof(kernels::Candidate));
  if (config.rewiring) plan_rewiring(b, config, ldx, threads);
  return std::move(b.plan);
}

}  // namespace

std::vector<SegmentShape> segment_shapes(const ClassifierConfig& config) {
  const int64_t features = config.layer_features();
  const int64_t dense_rows = config.fan_in ? config.dense_labels : config.num_labels;
  std::vector<SegmentShape> shapes;
  const auto add = [&](int64_t first, int64_t rows, int64_t group, int64_t fan_in, bool dense) {
    if (rows == 0) return;
    shapes.push_back({"segments." + std::to_string(shapes.size()), first, rows, group, ceil_div(rows, group), fan_in,
                      features, dense, features > 65536});
  };
  add(0, dense_rows, std::min(dense_group, std::max<int64_t>(dense_rows, 2)), features, true);
  if (config.fan_in) add(dense_rows, config.num_labels - dense_rows, config.group_size, *config.fan_in, false);
  return shapes;
}

int64_t dx_parts(const ClassifierConfig& config) {
  const int64_t features = config.layer_features(), ldx = leading_dimension(config.batch_size);
  int64_t weights = 0, groups = 1;
  for (const SegmentShape& s : segment_shapes(config)) {
    weights += s.weights();
    groups = std::max(groups, s.groups);
  }
  // A part costs three passes over its [H, ldx]; with 512 weights per feature that stays below a few percent of its
  // work.
  int64_t parts = std::clamp<int64_t>(weights / (512 * features), 4, 64);
  const int64_t bytes = features * ldx * static_cast<int64_t>(sizeof(float));
  parts = std::min(parts, std::max<int64_t>(4, (int64_t{1} << 30) / bytes));
  return std::min(parts, groups);
}

std::vector<std::string> state_slots(const OptimizerConfig& optimizer) {
  if (optimizer.kind == OptimizerKind::adam) return {"exp_avg", "exp_avg_sq"};
  if (optimizer.state_slots() == 1) return {"momentum"};
  return {};
}

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

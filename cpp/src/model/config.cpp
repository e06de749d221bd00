#include "sparsexmc/config.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <numbers>

#include "device/device_name.h"
#include "device/dtypes.h"
#include "sparsexmc/error.h"
#include "sparsexmc/thread_pool.h"

namespace sparsexmc {
namespace {

constexpr int64_t max_layer_features = 131072;
constexpr int64_t max_sparse_features = std::numeric_limits<int32_t>::max();  // columns are int32 in the kernels
constexpr int64_t max_labels = 4294967294;     // ids are uint32, and the largest one marks an empty place
constexpr int64_t max_instances = 4294967295;  // frequencies are kept as uint32
constexpr int64_t max_group_size = 1024;
constexpr int64_t max_batch_size = int64_t{1} << 20;
constexpr int64_t max_per_instance = int64_t{1} << 31;  // keeps batch_size times this far below 2^63
constexpr int64_t any = std::numeric_limits<int64_t>::max();

template <class T>
[[noreturn]] void refuse(const char* field, T value, const std::string& remedy) {
  char digits[32];  // the shortest text that reads back as the same number
  char* end = std::to_chars(digits, digits + sizeof digits, value).ptr;
  throw ArgumentError(std::string(field) + " is " + std::string(digits, end) + remedy);
}

void check_range(const char* field, int64_t value, int64_t lowest, int64_t highest) {
  if (value >= lowest && value <= highest) return;
  const std::string low = std::to_string(lowest);
  refuse(field, value, highest == any ? "; use " + low + " or more" : "; use " + low + ".." + std::to_string(highest));
}

// Numbers are checked as the fp32 values that the kernels will see: 1 - 1e-12 is 1 there, and 1e-60 is 0.

void check_not_negative(const char* field, double value) {
  const float x = static_cast<float>(value);
  if (!(x >= 0 && std::isfinite(x))) refuse(field, value, "; use a finite number >= 0");
}

void check_positive(const char* field, double value) {
  const float x = static_cast<float>(value);
  if (!(x > 0 && std::isfinite(x))) refuse(field, value, "; use a finite number > 0 that fp32 can hold");
}

void check_below_one(const char* field, double value) {
  if (!(value >= 0 && static_cast<float>(value) < 1))
    refuse(field, value, "; use a number within [0, 1) that fp32 does not round to 1");
}

void check_sizes(const ClassifierConfig& c) {
  if (c.sparse_input && !c.hidden)
    throw ArgumentError(
        "sparse_input is true, but hidden is none; sparse features are read by a hidden layer: use hidden=512, or "
        "sparse_input=False");
  if (c.hidden) {
    check_range("hidden.features", c.hidden->features, 1, max_layer_features);
    check_below_one("hidden.dropout", c.hidden->dropout);
    check_positive("hidden.input_scale", c.hidden->input_scale);
    check_positive("hidden.initial_scale", c.hidden->initial_scale);
  }
  check_range("in_features", c.in_features, 1, c.sparse_input ? max_sparse_features : max_layer_features);
  check_range("num_labels", c.num_labels, 1, max_labels);
  check_range("group_size", c.group_size, 1, max_group_size);
  const int64_t width = c.layer_features();
  if (c.fan_in && *c.fan_in > width) {
    refuse("fan_in", *c.fan_in,
           ", but the layer reads only " + std::to_string(width) + " features (hidden or in_features); use fan_in <= " +
               std::to_string(width) + ", or fan_in=None for a dense layer");
  }
  if (c.fan_in && *c.fan_in < 1)
    refuse("fan_in", *c.fan_in, "; use 1.." + std::to_string(width) + ", or fan_in=None for a dense layer");
  if (c.dense_labels < 0 || c.dense_labels > c.num_labels)
    refuse("dense_labels", c.dense_labels,
           ", but num_labels is " + std::to_string(c.num_labels) + "; use 0.." + std::to_string(c.num_labels));
}

void check_optimizer(const OptimizerConfig& optimizer) {
  if (optimizer.kind == OptimizerKind::sgd) {
    check_not_negative("optimizer.lr", optimizer.sgd.lr);
    check_below_one("optimizer.momentum", optimizer.sgd.momentum);
    check_not_negative("optimizer.weight_decay", optimizer.sgd.weight_decay);
  } else {
    check_not_negative("optimizer.lr", optimizer.adam.lr);
    check_below_one("optimizer.beta1", optimizer.adam.beta1);
    check_below_one("optimizer.beta2", optimizer.adam.beta2);
    check_positive("optimizer.eps", optimizer.adam.eps);
    check_not_negative("optimizer.weight_decay", optimizer.adam.weight_decay);
  }
}

void check_schedule(const Schedule& schedule) {
  check_range("schedule.warmup_steps", schedule.warmup_steps, 0, any);
  check_range("schedule.total_steps", schedule.total_steps, 0, any);
  if (schedule.kind != ScheduleKind::constant && schedule.total_steps != 0 &&
      schedule.total_steps <= schedule.warmup_steps)
    refuse("schedule.total_steps", schedule.total_steps,
           ", but schedule.warmup_steps is " + std::to_string(schedule.warmup_steps) +
               "; a linear or cosine schedule needs total_steps > warmup_steps, or 0 for those of the training");
  if (!(schedule.final_share >= 0 && schedule.final_share <= 1))
    refuse("schedule.final_share", schedule.final_share, "; use a number within [0, 1]");
}

void check_rewiring(const Rewiring& rewiring) {
  if (!(rewiring.fraction > 0 && rewiring.fraction < 1))
    refuse("rewiring.fraction", rewiring.fraction, "; use a number within (0, 1)");
  check_range("rewiring.interval", rewiring.interval, 0, any);
  check_range("rewiring.start", rewiring.start, 0, any);
  check_range("rewiring.stop", rewiring.stop, 0, any);
  if (rewiring.stop != 0 && rewiring.stop <= rewiring.start)
    refuse("rewiring.stop", rewiring.stop,
           ", but rewiring.start is " + std::to_string(rewiring.start) +
               "; use stop > start, or 0 for three quarters of the training");
  check_range("rewiring.grow_batches", rewiring.grow_batches, 1, any);
}

void check_positive_weights(const ClassifierConfig& c) {
  check_not_negative("propensity.a", c.propensity.a);
  check_positive("propensity.b", c.propensity.b);
  if (c.positive_weights == PositiveWeights::propensity && c.num_instances < 3)
    refuse("num_instances", c.num_instances,
           ", but positive_weights are from propensities, which need label_counts of at least 3 training instances");
}

void check_auxiliary(const MetaClassifier& auxiliary, int64_t num_labels) {
  check_range("auxiliary.clusters", auxiliary.clusters, 1, num_labels);
  check_positive("auxiliary.weight", auxiliary.weight);
  check_range("auxiliary.steps", auxiliary.steps, 1, any);
}

void check_average(const WeightAverage& average) {
  check_below_one("average.decay", average.decay);
  check_range("average.start", average.start, 0, any);
  if (!(average.start_share >= 0 && average.start_share < 1))
    refuse("average.start_share", average.start_share, "; use a number within [0, 1)");
  check_range("average.every", average.every, 1, any);
}

/// 1 at share 0, 0 at share 1, along half a cosine.
double half_cosine(double share) { return 0.5 * (1.0 + std::cos(std::numbers::pi * share)); }

}  // namespace

Schedule Schedule::for_total_steps(int64_t steps) const {
  Schedule schedule = *this;
  if (total_steps == 0 && steps > 0) schedule.total_steps = std::max(steps, warmup_steps + 1);
  return schedule;
}

double Schedule::factor(int64_t step) const {
  if (step < warmup_steps) return static_cast<double>(step + 1) / static_cast<double>(warmup_steps);
  if (kind == ScheduleKind::constant || total_steps == 0) return 1.0;
  if (step >= total_steps) return final_share;
  const double share = static_cast<double>(step - warmup_steps) / static_cast<double>(total_steps - warmup_steps);
  const double fall = kind == ScheduleKind::linear ? 1.0 - share : half_cosine(share);
  return final_share + (1.0 - final_share) * fall;
}

Rewiring Rewiring::for_total_steps(int64_t steps) const {
  constexpr int64_t times = 12, longest_interval = 1000;
  Rewiring rewiring = *this;
  if (steps == 0) return rewiring;
  if (interval == 0) rewiring.interval = std::clamp<int64_t>(steps / times, 1, longest_interval);
  // The connections that are grown last still have to train.
  if (stop == 0) rewiring.stop = std::max(steps / 4 * 3 + steps % 4 * 3 / 4, start + 1);
  return rewiring;
}

bool Rewiring::due(int64_t step) const {
  return interval > 0 && step > 0 && step >= start && (stop == 0 || step < stop) && (step - start) % interval == 0;
}

double Rewiring::fraction_at(int64_t step) const {
  if (fraction_schedule == FractionSchedule::constant || stop == 0) return fraction;
  const double share = static_cast<double>(step - start) / static_cast<double>(stop - start);
  return fraction * half_cosine(std::clamp(share, 0.0, 1.0));
}

double MetaClassifier::weight_at(int64_t step) const {
  return step >= steps ? 0.0 : weight * half_cosine(static_cast<double>(step) / static_cast<double>(steps));
}

bool WeightAverage::due(int64_t step, int64_t total_steps) const {
  if (start_share > 0 && total_steps == 0) return false;
  const auto share = static_cast<int64_t>(std::ceil(start_share * static_cast<double>(total_steps)));
  const int64_t first = std::max(start, share);
  return step > first && (step - first) % every == 0;
}

double WeightAverage::rate(int64_t count) const {
  if (count == 1) return 1.0;
  const auto n = static_cast<double>(count);
  return method == AverageMethod::mean ? 1.0 / n : (1.0 - decay) / -std::expm1(n * std::log(decay));
}

void ClassifierConfig::check() const {
  check_sizes(*this);
  check_optimizer(optimizer);
  check_schedule(schedule);
  if (rewiring) {
    if (!fan_in)
      throw ArgumentError(
          "rewiring is given, but fan_in is none: a dense layer has no connections to rewire; give fan_in, or use "
          "rewiring=None");
    check_rewiring(*rewiring);
  }
  if (average) check_average(*average);
  if (!std::isfinite(static_cast<float>(initial_bias.value)))
    refuse("initial_bias", initial_bias.value, "; use a finite number that fp32 can hold");
  check_range("num_instances", num_instances, 0, max_instances);
  check_positive_weights(*this);
  if (auxiliary) check_auxiliary(*auxiliary, num_labels);
  if (initial_bias.kind == InitialBias::Kind::frequency && num_instances == 0)
    throw ArgumentError(
        "initial_bias is \"frequency\", but num_instances is 0; give the number of training instances and "
        "label_counts");
  check_range("batch_size", batch_size, 1, max_batch_size);
  check_range("labels_per_instance", labels_per_instance, 1, max_per_instance);
  check_range("features_per_instance", features_per_instance, 1, max_per_instance);
  check_range("topk", topk, 1, any);
  check_range("num_threads", num_threads, 0, ThreadPool::max_threads);
  // Of "auto" it is not known yet what it will be, but CUDA takes all that any device takes.
  choose_compute_dtype(*this, parse_device_name(device).value_or(Device{DeviceKind::cuda, 0}));
}

}  // namespace sparsexmc

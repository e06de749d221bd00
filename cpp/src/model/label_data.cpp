#include "model/label_data.h"

#include <cmath>
#include <string>

#include "losses.h"
#include "sparsexmc/error.h"
#include "sparsexmc/metrics.h"

namespace sparsexmc {
namespace {

void require(const void* array, const char* name, const char* reason) {
  if (array == nullptr)
    throw ArgumentError(std::string(name) + " is missing, but " + reason + "; give one number per label");
}

void check_counts(const ClassifierConfig& config, const int64_t* counts) {
  for (int64_t label = 0; label < config.num_labels; ++label) {
    const bool many = config.num_instances > 0 && counts[label] > config.num_instances;
    if (counts[label] < 0 || many)
      throw ArgumentError("label_counts: " + std::to_string(counts[label]) + " for label " + std::to_string(label) +
                          (many ? ", but num_instances is " + std::to_string(config.num_instances) +
                                      "; count the instances that have the label"
                                : "; counts must be >= 0"));
  }
}

/// @param lowest numbers must lie above it
void check_numbers(const char* name, const float* numbers, int64_t count, float lowest, const char* remedy) {
  for (int64_t label = 0; label < count; ++label)
    if (!(std::isfinite(numbers[label]) && numbers[label] > lowest))
      throw ArgumentError(std::string(name) + ": " + std::to_string(numbers[label]) + " for label " +
                          std::to_string(label) + "; " + remedy);
}

}  // namespace

void check_label_data(const ClassifierConfig& config, const LabelData& labels) {
  if (config.num_instances > 0) require(labels.counts, "label_counts", "num_instances is given");
  if (labels.counts != nullptr) check_counts(config, labels.counts);
  if (config.initial_bias.kind == InitialBias::Kind::array) {
    require(labels.initial_bias, "initial_bias", "the configuration has it as an array");
    check_numbers("initial_bias", labels.initial_bias, config.num_labels, -HUGE_VALF, "use finite numbers");
  }
  if (config.positive_weights == PositiveWeights::array) {
    require(labels.positive_weights, "positive_weights", "the configuration has them as an array");
    check_positive_numbers("positive_weights", labels.positive_weights, config.num_labels);
  }
  if (config.auxiliary && labels.clusters != nullptr)
    for (int64_t label = 0; label < config.num_labels; ++label)
      if (labels.clusters[label] < 0 || labels.clusters[label] >= config.auxiliary->clusters)
        throw ArgumentError("auxiliary.clusters: " + std::to_string(labels.clusters[label]) + " for label " +
                            std::to_string(label) + "; cluster ids must lie in 0.." +
                            std::to_string(config.auxiliary->clusters - 1));
}

void check_positive_numbers(const char* name, const float* numbers, int64_t count) {
  check_numbers(name, numbers, count, 0.0f, "use finite numbers > 0");
}

std::vector<float> positive_weights(const ClassifierConfig& config, const LabelData& labels) {
  const auto size = static_cast<size_t>(config.num_labels);
  if (config.positive_weights == PositiveWeights::array)
    return {labels.positive_weights, labels.positive_weights + size};
  if (config.positive_weights == PositiveWeights::none) return {};
  std::vector<float> weights(size);
  const std::vector<double> q = inverse_propensities(labels.counts, config.num_labels, config.num_instances,
                                                     config.propensity.a, config.propensity.b);
  for (size_t label = 0; label < size; ++label) weights[label] = static_cast<float>(2.0 * q[label] - 1.0);
  return weights;
}

std::vector<float> starting_biases(const ClassifierConfig& config, const LabelData& labels,
                                   const std::vector<float>& weights) {
  const auto size = static_cast<size_t>(config.num_labels);
  if (config.initial_bias.kind == InitialBias::Kind::array) return {labels.initial_bias, labels.initial_bias + size};
  if (config.initial_bias.kind == InitialBias::Kind::constant) return {};
  std::vector<float> biases(size);
  for (size_t label = 0; label < size; ++label) {
    const double weight = weights.empty() ? 1.0 : static_cast<double>(weights[label]);
    const double present = weight * (static_cast<double>(labels.counts[label]) + 0.5);
    const double absent = static_cast<double>(config.num_instances - labels.counts[label]) + 0.5;
    biases[label] = static_cast<float>(losses::visit_loss(
        config.loss, [&](auto formula) { return decltype(formula)::best_constant(present, absent); }));
  }
  return biases;
}

}  // namespace sparsexmc

// The configuration as JSON: keys are the field names. Every struct lists its fields once, for writing and reading.
#include <algorithm>
#include <array>
#include <concepts>
#include <limits>
#include <nlohmann/json.hpp>
#include <type_traits>
#include <utility>
#include <vector>

#include "losses.h"
#include "sparsexmc/config.h"
#include "sparsexmc/error.h"

namespace sparsexmc {
namespace {

using Json = nlohmann::ordered_json;  // written in the order of the fields

// Names of the enumerators, in order of their values.
constexpr const char* name_of(Loss loss) {
  return losses::visit_loss(loss, [](auto formula) { return decltype(formula)::name; });
}
constexpr size_t num_losses = [] {
  size_t number = 0;
  // NOLINTNEXTLINE(clang-analyzer-optin.core.EnumCastOutOfRange): the first number that names no loss ends it
  while (name_of(static_cast<Loss>(number)) != nullptr) ++number;
  return number;
}();
constexpr std::array<const char*, num_losses> names(Loss) {
  std::array<const char*, num_losses> all{};
  for (size_t i = 0; i < num_losses; ++i) all[i] = name_of(static_cast<Loss>(i));
  return all;
}
constexpr std::array<const char*, 2> names(OptimizerKind) { return {"sgd", "adam"}; }
constexpr std::array<const char*, 3> names(ScheduleKind) { return {"constant", "linear", "cosine"}; }
constexpr std::array<const char*, 3> names(PositiveWeights) { return {"none", "propensity", "array"}; }
constexpr std::array<const char*, 2> names(RewiringMethod) { return {"set", "rigl"}; }
constexpr std::array<const char*, 2> names(RewiringScope) { return {"layer", "group"}; }
constexpr std::array<const char*, 2> names(FractionSchedule) { return {"constant", "cosine"}; }
constexpr std::array<const char*, 2> names(AverageMethod) { return {"ema", "mean"}; }
constexpr std::array<const char*, 3> names(InitialBias::Kind) { return {nullptr, "frequency", "array"}; }
// Null: not for a configuration.
constexpr std::array<const char*, 3> names(DType) { return {"float32", nullptr, "bfloat16"}; }

/// The fields that the optimizer's kind has, and no others.
template <class Archive>
void fields(Archive& archive, OptimizerConfig& optimizer) {
  archive.field("kind", optimizer.kind);
  if (optimizer.kind == OptimizerKind::sgd) {
    archive.field("lr", optimizer.sgd.lr);
    archive.field("momentum", optimizer.sgd.momentum);
    archive.field("weight_decay", optimizer.sgd.weight_decay);
  } else {
    archive.field("lr", optimizer.adam.lr);
    archive.field("beta1", optimizer.adam.beta1);
    archive.field("beta2", optimizer.adam.beta2);
    archive.field("eps", optimizer.adam.eps);
    archive.field("weight_decay", optimizer.adam.weight_decay);
  }
}

template <class Archive>
void fields(Archive& archive, Schedule& schedule) {
  archive.field("kind", schedule.kind);
  archive.field("warmup_steps", schedule.warmup_steps);
  archive.field("total_steps", schedule.total_steps);
  archive.field("final_share", schedule.final_share);
}

template <class Archive>
void fields(Archive& archive, Hidden& hidden) {
  archive.field("features", hidden.features);
  archive.field("dropout", hidden.dropout);
  archive.field("input_scale", hidden.input_scale);
  archive.field("initial_scale", hidden.initial_scale);
}

template <class Archive>
void fields(Archive& archive, Rewiring& rewiring) {
  archive.field("method", rewiring.method);
  archive.field("fraction", rewiring.fraction);
  archive.field("fraction_schedule", rewiring.fraction_schedule);
  archive.field("interval", rewiring.interval);
  archive.field("start", rewiring.start);
  archive.field("stop", rewiring.stop);
  archive.field("scope", rewiring.scope);
  archive.field("grow_batches", rewiring.grow_batches);
}

template <class Archive>
void fields(Archive& archive, Propensity& propensity) {
  archive.field("a", propensity.a);
  archive.field("b", propensity.b);
}

template <class Archive>
void fields(Archive& archive, MetaClassifier& auxiliary) {
  archive.field("clusters", auxiliary.clusters);
  archive.field("weight", auxiliary.weight);
  archive.field("steps", auxiliary.steps);
}

template <class Archive>
void fields(Archive& archive, WeightAverage& average) {
  archive.field("method", average.method);
  archive.field("decay", average.decay);
  archive.field("start", average.start);
  archive.field("start_share", average.start_share);
  archive.field("every", average.every);
}

template <class Archive>
void fields(Archive& archive, ClassifierConfig& config) {
  archive.field("in_features", config.in_features);
  archive.field("num_labels", config.num_labels);
  archive.field("fan_in", config.fan_in);
  archive.field("group_size", config.group_size);
  archive.field("dense_labels", config.dense_labels);
  archive.field("hidden", config.hidden);
  archive.field("sparse_input", config.sparse_input);
  archive.field("loss", config.loss);
  archive.field("positive_weights", config.positive_weights);
  archive.field("propensity", config.propensity);
  archive.field("auxiliary", config.auxiliary);
  archive.field("optimizer", config.optimizer);
  archive.field("schedule", config.schedule);
  archive.field("rewiring", config.rewiring);
  archive.field("average", config.average);
  archive.field("weight_dtype", config.weight_dtype);
  archive.field("compute_dtype", config.compute_dtype);
  archive.field("initial_bias", config.initial_bias);
  archive.field("num_instances", config.num_instances);
  archive.field("batch_size", config.batch_size);
  archive.field("labels_per_instance", config.labels_per_instance);
  archive.field("features_per_instance", config.features_per_instance);
  archive.field("topk", config.topk);
  archive.field("num_threads", config.num_threads);
  archive.field("memory_limit", config.memory_limit);
  archive.field("seed", config.seed);
  archive.field("device", config.device);
}

template <class T>
constexpr bool is_optional = false;
template <class T>
constexpr bool is_optional<std::optional<T>> = true;

class Writer {
 public:
  template <class T>
  void field(const char* key, T& value) {
    json_[key] = encode(value);
  }

  template <class T>
  static Json encode(T& value) {
    if constexpr (is_optional<T>) {
      return value ? encode(*value) : Json();
    } else if constexpr (std::same_as<T, InitialBias>) {  // a number, or the name of the kind
      return value.kind == InitialBias::Kind::constant ? Json(value.value) : encode(value.kind);
    } else if constexpr (std::is_enum_v<T>) {
      const char* name = names(value).at(static_cast<size_t>(value));
      return name != nullptr ? Json(name) : Json();
    } else if constexpr (std::is_arithmetic_v<T> || std::same_as<T, std::string>) {
      return value;
    } else {
      Writer writer;
      fields(writer, value);
      return std::move(writer.json_);
    }
  }

 private:
  Json json_ = Json::object();
};

/// Takes the fields of one object. A missing key leaves its field as it is; a key that is not taken is unknown.
class Reader {
 public:
  template <class T>
  void field(const char* key, T& out) {
    taken_.emplace_back(key);
    const auto found = json_.find(key);
    if (found != json_.end()) decode(*found, path_.empty() ? key : path_ + "." + key, out);
  }

  /// @param path dotted key of the value; empty for the whole configuration
  template <class T>
  static void decode(const Json& json, const std::string& path, T& out) {
    if constexpr (is_optional<T>) {
      out.reset();
      if (!json.is_null()) decode(json, path, out.emplace());
    } else if constexpr (std::same_as<T, InitialBias>) {
      out = InitialBias();
      if (json.is_number())
        out.value = json.get<double>();
      else
        decode(json, path, out.kind);
    } else if constexpr (std::same_as<T, bool>) {
      if (!json.is_boolean()) refuse(path, json, "true or false");
      out = json.get<bool>();
    } else if constexpr (std::integral<T>) {
      const bool fits = json.is_number_unsigned() ? std::in_range<T>(json.get<uint64_t>())
                                                  : json.is_number_integer() && std::in_range<T>(json.get<int64_t>());
      if (!fits)
        refuse(path, json,
               "a whole number within " + std::to_string(std::numeric_limits<T>::min()) + ".." +
                   std::to_string(std::numeric_limits<T>::max()));
      out = json.get<T>();
    } else if constexpr (std::floating_point<T>) {
      if (!json.is_number()) refuse(path, json, "a number");
      out = json.get<T>();
    } else if constexpr (std::same_as<T, std::string>) {
      if (!json.is_string()) refuse(path, json, "a string");
      out = json.get<std::string>();
    } else if constexpr (std::is_enum_v<T>) {
      decode_name(json, path, out);
    } else {
      if (!json.is_object()) refuse(path, json, "an object");
      Reader reader(json, path);
      fields(reader, out);
      reader.refuse_unknown();
    }
  }

 private:
  Reader(const Json& json, const std::string& path) : json_(json), path_(path) {}

  template <class Enum>
  static void decode_name(const Json& json, const std::string& path, Enum& out) {
    constexpr auto all = names(Enum{});
    const auto found =
        std::find_if(all.begin(), all.end(), [&](const char* name) { return name != nullptr && json == name; });
    if (found != all.end()) {
      out = static_cast<Enum>(found - all.begin());
      return;
    }
    std::string allowed;
    for (const char* name : all)
      if (name != nullptr) allowed += (allowed.empty() ? "\"" : " or \"") + std::string(name) + "\"";
    refuse(path, json, allowed);
  }

  void refuse_unknown() const {
    for (const auto& [key, value] : json_.items()) {
      if (std::find(taken_.begin(), taken_.end(), key) != taken_.end()) continue;
      std::string known;
      for (const std::string& name : taken_) known += (known.empty() ? "" : ", ") + name;
      throw ArgumentError("the configuration has the unknown key " + (path_.empty() ? key : path_ + "." + key) +
                          "; known here: " + known);
    }
  }

  [[noreturn]] static void refuse(const std::string& path, const Json& json, const std::string& allowed) {
    constexpr size_t longest = 80;
    std::string text = json.dump(-1, ' ', true, Json::error_handler_t::replace);
    if (text.size() > longest) text = text.substr(0, longest) + "...";
    throw ArgumentError((path.empty() ? "the configuration" : "in the configuration " + path) + " is " + text +
                        "; allowed: " + allowed);
  }

  const Json& json_;
  const std::string path_;
  std::vector<std::string> taken_;
};

}  // namespace

std::vector<std::string> loss_names() {
  constexpr auto all = names(Loss{});
  return {all.begin(), all.end()};
}

std::string ClassifierConfig::to_json() const {
  ClassifierConfig copy = *this;  // fields() hands out references that a reader could write to
  return Writer::encode(copy).dump(2);
}

ClassifierConfig ClassifierConfig::from_json(const std::string& text) {
  Json json;
  try {
    json = Json::parse(text);
  } catch (const Json::exception& error) {
    throw ArgumentError(std::string("the configuration is not valid JSON: ") + error.what());
  }
  ClassifierConfig config;
  Reader::decode(json, "", config);
  return config;
}

}  // namespace sparsexmc

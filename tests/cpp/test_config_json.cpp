#include <doctest/doctest.h>

#include <limits>
#include <string>
#include <vector>

#include "sparsexmc/config.h"
#include "sparsexmc/error.h"

using namespace sparsexmc;

namespace {

/// Every field differs from its default, and the numbers from all that few digits can write.
ClassifierConfig unusual() {
  ClassifierConfig c;
  c.in_features = 123457;
  c.num_labels = 4000000000;
  c.fan_in = 31;
  c.group_size = 3;
  c.dense_labels = 17;
  c.hidden = Hidden{513, 1.0 / 3.0};
  c.sparse_input = true;
  c.loss = Loss::squared_hinge;
  c.optimizer.kind = OptimizerKind::adam;
  c.optimizer.adam = {0.1 + 0.2, 0.1, 1 - 0x1p-20, 5e-324, 1e-300};
  c.schedule = {ScheduleKind::cosine, 11, std::numeric_limits<int64_t>::max(), 0x1.fffffffffffffp-1};
  c.rewiring = Rewiring{RewiringMethod::rigl, 0.7, FractionSchedule::cosine, 99, 5, 9999, RewiringScope::group, 4};
  c.weight_dtype = DType::bfloat16;
  c.compute_dtype = DType::float32;
  c.initial_bias = -4.6;
  c.num_instances = 8;
  c.positive_weights = PositiveWeights::propensity;
  c.propensity = {0.6, 2.6};
  c.auxiliary = MetaClassifier{12, 0.3, 345};
  c.batch_size = 77;
  c.labels_per_instance = 5;
  c.features_per_instance = 6;
  c.topk = 7;
  c.num_threads = 3;
  c.memory_limit = std::numeric_limits<size_t>::max();
  c.seed = std::numeric_limits<uint64_t>::max();
  c.device = "cuda:1";
  return c;
}

std::string refusal(const std::string& json) {
  try {
    ClassifierConfig::from_json(json);
  } catch (const ArgumentError& error) {
    return error.what();
  }
  return "no ArgumentError";
}

}  // namespace

TEST_SUITE("config_json") {
  TEST_CASE("a configuration survives JSON exactly") {
    const ClassifierConfig c = unusual(), read = ClassifierConfig::from_json(c.to_json());
    CHECK(read.to_json() == c.to_json());
    CHECK(read.in_features == c.in_features);
    CHECK(read.num_labels == c.num_labels);
    CHECK(read.fan_in == c.fan_in);
    CHECK(read.group_size == c.group_size);
    CHECK(read.dense_labels == c.dense_labels);
    REQUIRE(read.hidden.has_value());
    CHECK(read.hidden->features == c.hidden->features);
    CHECK(read.hidden->dropout == c.hidden->dropout);
    CHECK(read.sparse_input);
    CHECK(read.loss == c.loss);
    CHECK(read.optimizer.kind == c.optimizer.kind);
    CHECK(read.optimizer.adam.lr == c.optimizer.adam.lr);
    CHECK(read.optimizer.adam.beta1 == c.optimizer.adam.beta1);
    CHECK(read.optimizer.adam.beta2 == c.optimizer.adam.beta2);
    CHECK(read.optimizer.adam.eps == c.optimizer.adam.eps);
    CHECK(read.optimizer.adam.weight_decay == c.optimizer.adam.weight_decay);
    CHECK(read.schedule.kind == c.schedule.kind);
    CHECK(read.schedule.warmup_steps == c.schedule.warmup_steps);
    CHECK(read.schedule.total_steps == c.schedule.total_steps);
    CHECK(read.schedule.final_share == c.schedule.final_share);
    REQUIRE(read.rewiring.has_value());
    CHECK(read.rewiring->method == c.rewiring->method);
    CHECK(read.rewiring->fraction == c.rewiring->fraction);
    CHECK(read.rewiring->fraction_schedule == c.rewiring->fraction_schedule);
    CHECK(read.weight_dtype == c.weight_dtype);
    CHECK(read.compute_dtype == c.compute_dtype);
    CHECK(read.rewiring->interval == c.rewiring->interval);
    CHECK(read.rewiring->start == c.rewiring->start);
    CHECK(read.rewiring->stop == c.rewiring->stop);
    CHECK(read.rewiring->scope == c.rewiring->scope);
    CHECK(read.rewiring->grow_batches == c.rewiring->grow_batches);
    CHECK(read.initial_bias.kind == InitialBias::Kind::constant);
    CHECK(read.initial_bias.value == c.initial_bias.value);
    CHECK(read.num_instances == c.num_instances);
    CHECK(read.positive_weights == c.positive_weights);
    CHECK(read.propensity.a == c.propensity.a);
    CHECK(read.propensity.b == c.propensity.b);
    REQUIRE(read.auxiliary.has_value());
    CHECK(read.auxiliary->clusters == c.auxiliary->clusters);
    CHECK(read.auxiliary->weight == c.auxiliary->weight);
    CHECK(read.auxiliary->steps == c.auxiliary->steps);
    CHECK(read.batch_size == c.batch_size);
    CHECK(read.labels_per_instance == c.labels_per_instance);
    CHECK(read.features_per_instance == c.features_per_instance);
    CHECK(read.topk == c.topk);
    CHECK(read.num_threads == c.num_threads);
    CHECK(read.memory_limit == c.memory_limit);
    CHECK(read.seed == c.seed);
    CHECK(read.device == c.device);
  }

  TEST_CASE("every loss goes by its name") {
    CHECK(loss_names() == std::vector<std::string>{"bce", "squared_hinge", "softmax"});
    for (size_t i = 0; i < loss_names().size(); ++i) {
      const ClassifierConfig read = ClassifierConfig::from_json(R"({"loss": ")" + loss_names()[i] + R"("})");
      CHECK(read.loss == static_cast<Loss>(i));
    }
  }

  TEST_CASE("an initial bias is a number or the name of its kind") {
    using Kind = InitialBias::Kind;
    CHECK(ClassifierConfig::from_json(R"({"initial_bias": -2})").initial_bias.value == -2.0);
    CHECK(ClassifierConfig::from_json(R"({"initial_bias": "frequency"})").initial_bias.kind == Kind::frequency);
    ClassifierConfig c;
    c.initial_bias.kind = Kind::array;
    CHECK(ClassifierConfig::from_json(c.to_json()).initial_bias.kind == Kind::array);
    CHECK(refusal(R"({"initial_bias": "often"})").find("\"frequency\" or \"array\"") != std::string::npos);
  }

  TEST_CASE("missing keys keep the defaults, null gives none, whole numbers serve as floats") {
    const ClassifierConfig defaults;
    CHECK(ClassifierConfig::from_json("{}").to_json() == defaults.to_json());
    CHECK(ClassifierConfig::from_json(R"({"fan_in": null, "hidden": null, "rewiring": null})").to_json() ==
          defaults.to_json());
    const ClassifierConfig read = ClassifierConfig::from_json(
        R"({"optimizer": {"kind": "adam", "lr": 1}, "rewiring": {}, "hidden": {"features": 8}})");
    CHECK(read.optimizer.adam.lr == 1.0);
    CHECK(read.optimizer.adam.beta2 == Adam{}.beta2);
    REQUIRE(read.rewiring.has_value());
    CHECK(read.rewiring->interval == Rewiring{}.interval);
    REQUIRE(read.hidden.has_value());
    CHECK(read.hidden->dropout == 0.0);
  }

  TEST_CASE("only the fields of the optimizer's kind are written") {
    ClassifierConfig config;
    CHECK(config.to_json().find("beta1") == std::string::npos);
    config.optimizer.kind = OptimizerKind::adam;
    CHECK(config.to_json().find("momentum") == std::string::npos);
  }

  TEST_CASE("what is wrong is named by its dotted key") {
    struct Case {
      const char* json;
      std::vector<std::string> parts;  // of the message
    };
    const std::vector<Case> cases = {
        {"", {"not valid JSON"}},
        {"{\"seed\": 1", {"not valid JSON"}},
        {"{\"seed\": NaN}", {"not valid JSON"}},
        {"{\"seed\": 1} x", {"not valid JSON"}},
        {"{\"initial_bias\": 1e999}", {"not valid JSON"}},
        {"{\"device\": \"\xff\"}", {"not valid JSON"}},
        {"[]", {"the configuration is []", "an object"}},
        {R"({"fanin": 3})", {"unknown key fanin", "fan_in"}},
        {R"({"optimizer": {"kind": "sgd", "eps": 1}})", {"unknown key optimizer.eps", "momentum"}},
        {R"({"hidden": {"activation": "relu"}})", {"unknown key hidden.activation", "dropout"}},
        {R"({"optimizer": {"kind": "lamb"}})", {"optimizer.kind is \"lamb\"", "\"sgd\" or \"adam\""}},
        {R"({"schedule": {"kind": 2}})", {"schedule.kind is 2", "\"constant\" or \"linear\" or \"cosine\""}},
        {R"({"rewiring": {"method": "SET"}})", {"rewiring.method is \"SET\"", "\"rigl\""}},
        {R"({"loss": null})", {"loss is null", "\"bce\""}},
        {R"({"optimizer": null})", {"optimizer is null", "an object"}},
        {R"({"hidden": 512})", {"hidden is 512", "an object"}},
        {R"({"num_labels": "many"})", {"num_labels is \"many\"", "a whole number"}},
        {R"({"num_labels": 2.0})", {"num_labels is 2.0", "a whole number"}},
        {R"({"num_labels": true})", {"num_labels is true", "a whole number"}},
        {R"({"num_labels": 9223372036854775808})", {"num_labels is 9223372036854775808", "9223372036854775807"}},
        {R"({"num_labels": 1e30})", {"num_labels is 1e+30"}},
        {R"({"fan_in": "all"})", {"fan_in is \"all\"", "a whole number"}},
        {R"({"num_threads": 2147483648})", {"num_threads is 2147483648", "2147483647"}},
        {R"({"seed": -1})", {"seed is -1", "18446744073709551615"}},
        {R"({"seed": 18446744073709551616})", {"seed is 1.8446744073709552e+19"}},
        {R"({"sparse_input": 1})", {"sparse_input is 1", "true or false"}},
        {R"({"optimizer": {"lr": "0.1"}})", {"optimizer.lr is \"0.1\"", "a number"}},
        {R"({"device": 0})", {"device is 0", "a string"}},
    };
    for (const Case& c : cases) {
      const std::string message = refusal(c.json);
      for (const std::string& part : c.parts)
        CHECK_MESSAGE(message.find(part) != std::string::npos, c.json << " / " << part << " / " << message);
    }
    CHECK(refusal(R"({"device": [")" + std::string(100000, 'x') + "\"]}").size() < 300);
    CHECK(refusal(std::string(100000, '[')).find("not valid JSON") != std::string::npos);
  }
}

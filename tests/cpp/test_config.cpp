#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "sparsexmc/config.h"
#include "sparsexmc/context.h"
#include "sparsexmc/error.h"
#include "sparsexmc/plan.h"

using namespace sparsexmc;

namespace {

constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();
constexpr double infinity = std::numeric_limits<double>::infinity();

ClassifierConfig good() {
  ClassifierConfig config;
  config.in_features = 768;
  config.num_labels = 10000;
  config.fan_in = 64;
  return config;
}

ClassifierConfig changed(const std::function<void(ClassifierConfig&)>& change) {
  ClassifierConfig config = good();
  change(config);
  return config;
}

template <class Call>
std::string argument_error(const Call& call) {
  try {
    call();
  } catch (const ArgumentError& error) {
    return error.what();
  }
  return "no ArgumentError";
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

struct BadCase {
  std::string message;  // a part of it
  std::function<void(ClassifierConfig&)> change;
};

void use_adam(ClassifierConfig& c) { c.optimizer.kind = OptimizerKind::adam; }

}  // namespace

TEST_SUITE("config") {
  TEST_CASE("good configurations pass") {
    good().check();
    changed([](auto& c) { c.fan_in.reset(); }).check();
    changed([](auto& c) { c.fan_in = 768; }).check();
    changed([](auto& c) { c.hidden = Hidden{1024, 0.5}, c.fan_in = 1024; }).check();
    changed([](auto& c) { c.sparse_input = true, c.hidden = Hidden{512}, c.in_features = 2147483647; }).check();
    changed([](auto& c) { c.num_labels = 4294967294; }).check();
    changed([](auto& c) { c.in_features = 131072, c.group_size = 1024, c.dense_labels = c.num_labels; }).check();
    changed([](auto& c) { c.topk = 1000000000; }).check();
    changed([](auto& c) { c.device = "auto"; }).check();
    changed([](auto& c) { c.device = "cuda:3"; }).check();  // whether the machine has it is asked later
    changed([](auto& c) { c.rewiring = Rewiring{}; }).check();
    changed([](auto& c) { c.schedule = {ScheduleKind::cosine, 10, 11, 0.1}; }).check();
    changed([](auto& c) { c.optimizer.sgd.lr = 0; }).check();
  }

  TEST_CASE("every wrong field is refused by name, with what came") {
    const std::vector<BadCase> cases = {
        {"in_features is 0;", [](auto& c) { c.in_features = 0; }},
        {"in_features is 131073;", [](auto& c) { c.in_features = 131073; }},
        {"in_features is 2147483648;",
         [](auto& c) { c.sparse_input = true, c.hidden = Hidden{512}, c.in_features = 2147483648; }},
        {"num_labels is 0;", [](auto& c) { c.num_labels = 0; }},
        {"num_labels is 4294967295; use 1..4294967294", [](auto& c) { c.num_labels = 4294967295; }},
        {"fan_in is 1024, but the layer reads only 768 features (hidden or in_features); use fan_in <= 768, or "
         "fan_in=None for a dense layer",
         [](auto& c) { c.fan_in = 1024; }},
        {"reads only 32 features", [](auto& c) { c.hidden = Hidden{32}; }},
        {"fan_in is 0;", [](auto& c) { c.fan_in = 0; }},
        {"group_size is 0;", [](auto& c) { c.group_size = 0; }},
        {"group_size is 1025; use 1..1024", [](auto& c) { c.group_size = 1025; }},
        {"dense_labels is -1,", [](auto& c) { c.dense_labels = -1; }},
        {"dense_labels is 10001, but num_labels is 10000", [](auto& c) { c.dense_labels = 10001; }},
        {"hidden.features is 0;", [](auto& c) { c.hidden = Hidden{0}; }},
        {"hidden.features is 131073;", [](auto& c) { c.hidden = Hidden{131073}; }},
        {"hidden.dropout is 1;", [](auto& c) { c.hidden = Hidden{64, 1.0}; }},
        {"hidden.dropout is -0.1;", [](auto& c) { c.hidden = Hidden{64, -0.1}; }},
        {"hidden.dropout is nan;", [](auto& c) { c.hidden = Hidden{64, not_a_number}; }},
        {"sparse_input is true, but hidden is none", [](auto& c) { c.sparse_input = true; }},
        {"optimizer.lr is -1;", [](auto& c) { c.optimizer.sgd.lr = -1; }},
        {"optimizer.lr is inf;", [](auto& c) { c.optimizer.sgd.lr = infinity; }},
        {"optimizer.lr is 1e+300;", [](auto& c) { c.optimizer.sgd.lr = 1e300; }},  // infinite in fp32
        {"optimizer.lr is nan;", [](auto& c) { use_adam(c), c.optimizer.adam.lr = not_a_number; }},
        {"optimizer.momentum is 1;", [](auto& c) { c.optimizer.sgd.momentum = 1; }},
        {"optimizer.momentum is 0.999999999999;", [](auto& c) { c.optimizer.sgd.momentum = 0.999999999999; }},
        {"optimizer.weight_decay is -0.5;", [](auto& c) { c.optimizer.sgd.weight_decay = -0.5; }},
        {"optimizer.beta1 is 1;", [](auto& c) { use_adam(c), c.optimizer.adam.beta1 = 1; }},
        {"optimizer.beta2 is -1;", [](auto& c) { use_adam(c), c.optimizer.adam.beta2 = -1; }},
        {"optimizer.eps is 0;", [](auto& c) { use_adam(c), c.optimizer.adam.eps = 0; }},
        {"optimizer.eps is 1e-60;", [](auto& c) { use_adam(c), c.optimizer.adam.eps = 1e-60; }},
        {"optimizer.weight_decay is nan;", [](auto& c) { use_adam(c), c.optimizer.adam.weight_decay = not_a_number; }},
        {"schedule.warmup_steps is -1;", [](auto& c) { c.schedule.warmup_steps = -1; }},
        {"schedule.total_steps is -1;", [](auto& c) { c.schedule.total_steps = -1; }},
        {"schedule.total_steps is 10, but schedule.warmup_steps is 10",
         [](auto& c) { c.schedule = {ScheduleKind::linear, 10, 10, 0}; }},
        {"schedule.final_share is 1.5;", [](auto& c) { c.schedule.final_share = 1.5; }},
        {"schedule.final_share is nan;", [](auto& c) { c.schedule.final_share = not_a_number; }},
        {"rewiring is given, but fan_in is none", [](auto& c) { c.rewiring = Rewiring{}, c.fan_in.reset(); }},
        {"rewiring.fraction is 0;", [](auto& c) { c.rewiring = Rewiring{.fraction = 0}; }},
        {"rewiring.fraction is 1;", [](auto& c) { c.rewiring = Rewiring{.fraction = 1}; }},
        {"rewiring.fraction is nan;", [](auto& c) { c.rewiring = Rewiring{.fraction = not_a_number}; }},
        {"rewiring.interval is -1;", [](auto& c) { c.rewiring = Rewiring{.interval = -1}; }},
        {"rewiring.start is -1;", [](auto& c) { c.rewiring = Rewiring{.start = -1}; }},
        {"rewiring.stop is 5, but rewiring.start is 5", [](auto& c) { c.rewiring = Rewiring{.start = 5, .stop = 5}; }},
        {"rewiring.grow_batches is 0;", [](auto& c) { c.rewiring = Rewiring{.grow_batches = 0}; }},
        {"initial_bias is nan;", [](auto& c) { c.initial_bias = not_a_number; }},
        {"initial_bias is \"frequency\", but num_instances is 0",
         [](auto& c) { c.initial_bias.kind = InitialBias::Kind::frequency; }},
        {"num_instances is -1;", [](auto& c) { c.num_instances = -1; }},
        {"num_instances is 2, but positive_weights",
         [](auto& c) { c.positive_weights = PositiveWeights::propensity, c.num_instances = 2; }},
        {"propensity.a is -1;", [](auto& c) { c.propensity.a = -1; }},
        {"propensity.b is 0;", [](auto& c) { c.propensity.b = 0; }},
        {"auxiliary.clusters is 0;", [](auto& c) { c.auxiliary = MetaClassifier{0, 0.4, 1}; }},
        {"auxiliary.clusters is 10001; use 1..10000", [](auto& c) { c.auxiliary = MetaClassifier{10001, 0.4, 1}; }},
        {"auxiliary.weight is 0;", [](auto& c) { c.auxiliary = MetaClassifier{1, 0.0, 1}; }},
        {"auxiliary.steps is 0;", [](auto& c) { c.auxiliary = MetaClassifier{1}; }},
        {"batch_size is 0;", [](auto& c) { c.batch_size = 0; }},
        {"batch_size is 1048577;", [](auto& c) { c.batch_size = 1048577; }},
        {"labels_per_instance is 0; use 1", [](auto& c) { c.labels_per_instance = 0; }},
        {"features_per_instance is 0; use 1", [](auto& c) { c.features_per_instance = 0; }},
        {"topk is 0; use 1 or more", [](auto& c) { c.topk = 0; }},
        {"num_threads is -1;", [](auto& c) { c.num_threads = -1; }},
        {"device is \"gpu\";", [](auto& c) { c.device = "gpu"; }},
    };
    for (const BadCase& bad : cases) {
      const std::string message = argument_error([&] { changed(bad.change).check(); });
      CHECK_MESSAGE(contains(message, bad.message), bad.message << " / " << message);
    }
  }

  TEST_CASE("schedules") {
    const Schedule plain;
    CHECK(plain.factor(0) == 1.0);
    CHECK(plain.factor(1000000) == 1.0);

    const Schedule warm{.warmup_steps = 4};
    CHECK(warm.factor(0) == 0.25);
    CHECK(warm.factor(3) == 1.0);
    CHECK(warm.factor(4) == 1.0);

    const Schedule linear{ScheduleKind::linear, 2, 12, 0.2};
    CHECK(linear.factor(0) == 0.5);
    CHECK(linear.factor(2) == 1.0);
    CHECK(linear.factor(7) == doctest::Approx(0.6));
    CHECK(linear.factor(12) == 0.2);
    CHECK(linear.factor(100) == 0.2);

    const Schedule cosine{ScheduleKind::cosine, 0, 8, 0.0};
    CHECK(cosine.factor(0) == 1.0);
    CHECK(cosine.factor(2) == doctest::Approx(0.5 + std::sqrt(0.125)));
    CHECK(cosine.factor(4) == doctest::Approx(0.5));
    CHECK(cosine.factor(8) == 0.0);
  }

  TEST_CASE("the weight of a meta-classifier decreases along half a cosine") {
    const MetaClassifier auxiliary{10, 0.4, 100};
    CHECK(auxiliary.weight_at(0) == 0.4);
    CHECK(auxiliary.weight_at(50) == doctest::Approx(0.2));
    CHECK(auxiliary.weight_at(99) > 0.0);
    CHECK(auxiliary.weight_at(100) == 0.0);
    CHECK(auxiliary.weight_at(1000) == 0.0);
  }

  TEST_CASE("rewiring is due every interval within start and stop, never before the first step") {
    const auto due_steps = [](const Rewiring& rewiring) {
      std::vector<int64_t> steps;
      for (int64_t step = 0; step <= 50; ++step)
        if (rewiring.due(step)) steps.push_back(step);
      return steps;
    };
    CHECK(due_steps({.interval = 20}) == std::vector<int64_t>{20, 40});
    CHECK(due_steps({.interval = 20, .start = 5, .stop = 45}) == std::vector<int64_t>{5, 25});
    CHECK(due_steps({.interval = 20, .start = 5, .stop = 46}) == std::vector<int64_t>{5, 25, 45});

    const Rewiring cosine{.fraction = 0.4, .fraction_schedule = FractionSchedule::cosine, .start = 10, .stop = 30};
    CHECK(cosine.fraction_at(10) == doctest::Approx(0.4));
    CHECK(cosine.fraction_at(20) == doctest::Approx(0.2));
    CHECK(cosine.fraction_at(30) == doctest::Approx(0.0));
    CHECK(Rewiring{.fraction = 0.4}.fraction_at(12345) == 0.4);
  }

  TEST_CASE("what is left open follows from the length of the training") {
    const Rewiring open;
    CHECK(!open.due(1000));
    CHECK(open.for_total_steps(0).interval == 0);
    CHECK(open.for_total_steps(600).interval == 50);
    CHECK(open.for_total_steps(600).stop == 450);
    CHECK(open.for_total_steps(1).interval == 1);
    CHECK(open.for_total_steps(60'000).interval == 1000);
    CHECK(open.for_total_steps(601).stop == 450);
    const Rewiring given = Rewiring{.interval = 7, .start = 100, .stop = 200}.for_total_steps(600);
    CHECK(given.interval == 7);
    CHECK(given.stop == 200);
    CHECK(Rewiring{.start = 1000}.for_total_steps(600).stop == 1001);
    const Schedule linear{ScheduleKind::linear};
    CHECK(linear.factor(5) == 1.0);
    CHECK(linear.for_total_steps(10).factor(5) == doctest::Approx(0.5));
    CHECK(Schedule{ScheduleKind::linear, 0, 20}.for_total_steps(10).factor(5) == doctest::Approx(0.75));
  }

  TEST_CASE("state slots and width") {
    OptimizerConfig optimizer;
    CHECK(optimizer.state_slots() == 0);
    optimizer.sgd.momentum = 0.9;
    CHECK(optimizer.state_slots() == 1);
    optimizer.kind = OptimizerKind::adam;
    CHECK(optimizer.state_slots() == 2);
    CHECK(good().layer_features() == 768);
    CHECK(changed([](auto& c) { c.hidden = Hidden{2048}; }).layer_features() == 2048);
  }

  TEST_CASE("device names") {
    CHECK(Device::parse("cpu") == Device{});
    CHECK(Device{DeviceKind::cuda, 2}.name() == "cuda:2");
    CHECK(Device{}.name() == "cpu");
    for (const char* name : {"", "CPU", "cpu:0", "cuda:", "cuda:-1", "cuda:1x", "cuda: 1", "cuda:99999999999"})
      CHECK_THROWS_AS(Device::parse(name), ArgumentError);
    if (cuda_unavailable_reason().empty()) {
      CHECK(Device::parse("auto") == Device{DeviceKind::cuda, 0});
      CHECK_THROWS_AS(Device::parse("cuda:1000"), DeviceError);
    } else {
      CHECK(Device::parse("auto") == Device{});
      CHECK_THROWS_AS(Device::parse("cuda"), DeviceError);
      CHECK_THROWS_AS(Context(Device{DeviceKind::cuda, 0}), DeviceError);
    }
  }

  TEST_CASE("dtypes that a device does not have") {
    ClassifierConfig c = good();
    CHECK(c.weight_dtype == DType::float32);
    CHECK(!c.compute_dtype);
    c.weight_dtype = DType::bfloat16;
    CHECK_THROWS_WITH_AS(c.check(), doctest::Contains("weight_dtype is bfloat16, but on the CPU"), ArgumentError);
    c.device = "auto";
    CHECK_NOTHROW(c.check());
    if (!cuda_unavailable_reason().empty()) CHECK_THROWS_AS(plan(c), ArgumentError);
    c.device = "cuda";
    CHECK_NOTHROW(c.check());
    c.weight_dtype = DType::float16;
    CHECK_THROWS_WITH_AS(c.check(), doctest::Contains("use float32 or bfloat16"), ArgumentError);
    c = good();
    c.compute_dtype = DType::bfloat16;
    CHECK_NOTHROW(c.check());
    c.compute_dtype = DType::float16;
    CHECK_THROWS_WITH_AS(c.check(), doctest::Contains("compute_dtype is float16; use float32 or"), ArgumentError);
  }

  TEST_CASE("a context brings pool and threads") {
    Context context({}, 2, 1 << 20);
    CHECK(context.device() == Device{});
    CHECK(context.threads().num_threads() == 2);
    CHECK(context.pool().statistics().limit == 1 << 20);
    CHECK_THROWS_AS(context.pool().allocate("too much", 2 << 20), MemoryPlanError);
  }
}

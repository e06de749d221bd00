// Several classifiers in one Context: one pool, one set of threads.
#include <doctest/doctest.h>

#include <memory>
#include <optional>

#include "scratch_directory.h"
#include "small_classifier.h"
#include "sparsexmc/error.h"

using namespace small_classifier;

TEST_CASE("two classifiers in one context train as two of their own") {
  const auto context = std::make_shared<Context>(Device{}, 2);
  const ClassifierConfig first = small_config(OptimizerKind::adam), second = small_config(OptimizerKind::sgd);
  auto in_context = [&](ClassifierConfig config) {
    config.num_threads = 0;
    return Classifier(config, {}, context);
  };
  auto alone = [](ClassifierConfig config) {
    config.num_threads = 2;
    return Classifier(config);
  };
  std::optional<Classifier> a = in_context(first);
  Classifier b = in_context(second);
  CHECK(&a->context() == context.get());
  CHECK(&b.context() == context.get());
  CHECK(a->config().num_threads == 2);
  CHECK(context->pool().statistics().current == a->memory_plan().total() + b.memory_plan().total());
  for (int i = 0; i < 3; ++i) {  // in turns
    train(*a, 1);
    train(b, 2);
  }
  Classifier alone_a = alone(first), alone_b = alone(second);
  train(alone_a, 3);
  train(alone_b, 6);
  CHECK(state(*a) == state(alone_a));
  CHECK(state(b) == state(alone_b));
  CHECK(context->pool().statistics().peak == a->memory_plan().total() + b.memory_plan().total());

  a.reset();  // the context lives on, and b with it
  CHECK(context->pool().statistics().current == b.memory_plan().total());
  train(b, 1);
  train(alone_b, 1);
  CHECK(state(b) == state(alone_b));
}

TEST_CASE("a checkpoint is loaded into a context") {
  const ScratchDirectory scratch;
  Classifier before = make_classifier();
  train(before, 3);
  before.save(scratch / "model");
  const auto context = std::make_shared<Context>(Device{}, 1);
  const Classifier all = Classifier::load(scratch / "model", "", 0, true, context);
  CHECK(state(all) == state(before));
  const Classifier weights = Classifier::load(scratch / "model", "", 0, false, context);
  CHECK(context->pool().statistics().current == all.memory_plan().total() + weights.memory_plan().total());
}

TEST_CASE("the context's limit counts all of its classifiers") {
  ClassifierConfig config = small_config(OptimizerKind::adam);
  const size_t one = plan(config).total();
  const auto context = std::make_shared<Context>(Device{}, 1, 2 * one - 1);
  const Classifier first(config, {}, context);
  CHECK_THROWS_AS(Classifier(config, {}, context), MemoryPlanError);
  CHECK(context->pool().statistics().current == one);
}

TEST_CASE("threads and device of the configuration must be the context's") {
  const auto context = std::make_shared<Context>(Device{}, 1);
  ClassifierConfig config = small_config(OptimizerKind::adam);
  config.num_threads = 3;
  CHECK_THROWS_AS(Classifier(config, {}, context), ArgumentError);
  config.num_threads = 1;
  CHECK_NOTHROW(Classifier(config, {}, context));
}

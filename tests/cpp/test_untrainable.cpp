// Classifier::load(..., trainable = false): weights and prediction without the memory of training. From Python:
// tests/test_untrainable.py.
#include <doctest/doctest.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "scratch_directory.h"
#include "small_classifier.h"
#include "sparsexmc/error.h"

using namespace small_classifier;

namespace {

constexpr int64_t k = 5;

struct Ranking {
  std::vector<float> scores = std::vector<float>(batch * k);
  std::vector<int64_t> ids = std::vector<int64_t>(batch * k);

  bool operator==(const Ranking&) const = default;
};

Ranking rank(Classifier& classifier, bool weighted = false) {
  std::vector<float> embeddings(batch * in_features), weights(num_labels);
  for (size_t i = 0; i < embeddings.size(); ++i) embeddings[i] = static_cast<float>(i * 5 % 13) / 8 - 0.75f;
  for (size_t i = 0; i < weights.size(); ++i) weights[i] = 0.5f + static_cast<float>(i % 4);
  Ranking best;
  classifier.topk({embeddings.data(), batch, in_features}, k, best.scores.data(), best.ids.data(),
                  weighted ? weights.data() : nullptr);
  return best;
}

/// With everything that only training needs: two moments, kept batches, weights of positives and a meta-classifier.
Classifier trained() {
  ClassifierConfig config = small_config(OptimizerKind::adam);
  config.rewiring->interval = 4;
  config.auxiliary = MetaClassifier{.clusters = 3, .weight = 0.4, .steps = 100};
  config.positive_weights = PositiveWeights::array;
  const std::vector<float> weights(num_labels, 1.5f);
  Classifier classifier(config, {.positive_weights = weights.data()});
  train(classifier, 6);
  return classifier;
}

std::string message_of(const auto& call) {
  try {
    call();
  } catch (const ArgumentError& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("a model loaded for prediction predicts the same bits from less memory") {
  const ScratchDirectory scratch;
  Classifier before = trained();
  REQUIRE(!before.progress().kept.empty());
  before.save(scratch / "model");
  Classifier model = Classifier::load(scratch / "model", "", 0, false);
  CHECK(!model.trainable());
  CHECK(before.trainable());
  CHECK(rank(model) == rank(before));
  CHECK(rank(model, true) == rank(before, true));
  CHECK(model.progress().step == 6);
  CHECK(model.progress().rewirings.size() == before.progress().rewirings.size());
  CHECK(model.lr() == before.lr());

  const MemoryStatistics held = model.context().pool().statistics();
  CHECK(held.peak == model.memory_plan().total());
  CHECK(held.current == held.peak);
  CHECK(plan(model.config(), false).total() == held.peak);
  CHECK(held.peak < before.memory_plan().total());
  for (const MemoryEntry& entry : model.memory_plan().entries) {
    CAPTURE(entry.name);
    CHECK(!entry.name.starts_with("optimizer."));
    CHECK(!entry.name.starts_with("auxiliary."));
    CHECK(!entry.name.starts_with("rewiring."));
    CHECK(!entry.name.ends_with(".positive_weights"));
  }
}

TEST_CASE("its tensors are those that prediction reads") {
  const ScratchDirectory scratch;
  Classifier before = trained();
  before.save(scratch / "model");
  const Classifier model = Classifier::load(scratch / "model", "", 0, false);
  std::vector<std::string> names;
  for (const NamedTensor& tensor : model.tensors()) {
    names.push_back(tensor.name);
    std::string mine(tensor.bytes(), '\0'), theirs(tensor.bytes(), '\1');
    model.read(tensor.name, mine.data());
    before.read(tensor.name, theirs.data());
    CHECK(mine == theirs);
  }
  CHECK(names == std::vector<std::string>{"segments.0.weights", "segments.0.bias", "segments.1.weights",
                                          "segments.1.indices", "segments.1.bias", "label_order"});
}

TEST_CASE("what needs the optimizer's state says how to load it") {
  const ScratchDirectory scratch;
  trained().save(scratch / "model");
  Classifier model = Classifier::load(scratch / "model", "", 0, false);
  const Ranking before = rank(model);
  const std::vector<int64_t> order(num_labels), indptr(batch + 1);
  std::vector<float> x(batch * in_features);
  const TensorView embeddings{x.data(), batch, in_features};
  const LabelsView labels{batch, {indptr.data(), true}, {indptr.data(), true}};
  for (const std::string& message :
       {message_of([&] { model.train_step(embeddings, labels); }),
        message_of([&] { model.start_step(embeddings, labels); }), message_of([&] { model.finish_step(1); }),
        message_of([&] { model.eval_step(embeddings, labels); }), message_of([&] { model.regroup(order.data()); }),
        message_of([&] { model.set_lr(0.1); }), message_of([&] { model.save(scratch / "again"); })}) {
    CAPTURE(message);
    CHECK(message.find("trainable=True") != std::string::npos);
  }
  CHECK(!std::filesystem::exists(scratch / "again"));
  CHECK(rank(model) == before);
}

TEST_CASE("the optimizer's state is verified though it is not read") {
  const ScratchDirectory scratch;
  trained().save(scratch / "model");
  const std::string path = scratch / "model/optimizer.safetensors";
  {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(-3, std::ios::end);
    file.put('\x55');
  }
  CHECK_THROWS_AS(Classifier::load(scratch / "model", "", 0, false), CheckpointError);
  std::filesystem::remove(path);
  CHECK_THROWS_AS(Classifier::load(scratch / "model", "", 0, false), CheckpointError);
}

TEST_CASE("a limit below the plan of training may fit prediction") {
  const ScratchDirectory scratch;
  ClassifierConfig config = trained().config();
  config.memory_limit = plan(config).total();
  const std::vector<float> weights(num_labels, 1.5f);
  Classifier(config, {.positive_weights = weights.data()}).save(scratch / "model");
  CHECK_NOTHROW(Classifier::load(scratch / "model", "", 0, false));
  config.memory_limit = plan(config, false).total();
  CHECK_THROWS_AS(plan(config), MemoryPlanError);
  CHECK(plan(config, false).total() == config.memory_limit);
}

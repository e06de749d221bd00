// Classifier::eval_step: what a step would give, without taking it. The same from Python: tests/test_evaluation.py.
#include <doctest/doctest.h>

#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include "small_classifier.h"
#include "sparsexmc/error.h"

using namespace small_classifier;

namespace {

struct Batch {
  std::vector<float> embeddings = std::vector<float>(batch * in_features);
  std::vector<int64_t> indptr = {0, 2, 3, 3, 5};
  std::vector<int64_t> indices = {0, 20, 3, 7, 8};

  Batch() {
    for (size_t i = 0; i < embeddings.size(); ++i)
      embeddings[i] = static_cast<float>(static_cast<int64_t>(i) * 5 % 13 - 6) / 8;
  }
  TensorView x() { return {embeddings.data(), batch, in_features}; }
  LabelsView labels() const { return {batch, {indptr.data(), true}, {indices.data(), true}}; }
};

Classifier make(OptimizerKind optimizer, std::optional<Hidden> hidden) {
  ClassifierConfig config = small_config(optimizer);
  config.hidden = hidden;
  Classifier classifier(config);
  train(classifier, 3);  // so that no moment is zero
  return classifier;
}

Hidden hidden_layer(double dropout) {
  Hidden hidden;
  hidden.features = 12;
  hidden.dropout = dropout;
  return hidden;
}

}  // namespace

TEST_CASE("an evaluation gives loss and gradient of the step and changes nothing") {
  for (const OptimizerKind optimizer : {OptimizerKind::sgd, OptimizerKind::adam})
    for (const std::optional<Hidden>& hidden :
         {std::optional<Hidden>(), std::optional(hidden_layer(0)), std::optional(hidden_layer(0.5))}) {
      CAPTURE(static_cast<int>(optimizer));
      CAPTURE(hidden ? hidden->dropout : -1.0);
      Classifier classifier = make(optimizer, hidden);
      Batch b;
      const std::string before = state(classifier);
      std::vector<float> expected(b.embeddings.size()), seen(b.embeddings.size());
      const TensorView gradient{seen.data(), batch, in_features}, of_step{expected.data(), batch, in_features};
      const StepResult evaluated = classifier.eval_step(b.x(), b.labels(), &gradient, OnNonfinite::raise, true);
      const StepResult alone = classifier.eval_step(b.x(), b.labels(), nullptr, OnNonfinite::raise, true);
      CHECK(state(classifier) == before);
      CHECK(classifier.progress().step == 3);
      const StepResult step = classifier.train_step(b.x(), b.labels(), &of_step);
      CHECK(state(classifier) != before);
      CHECK(evaluated.loss == step.loss);
      CHECK(alone.loss == step.loss);
      CHECK(seen == expected);
      CHECK(seen != std::vector<float>(seen.size()));
    }
}

TEST_CASE("without dropout an evaluation is one of the whole hidden layer") {
  Classifier classifier = make(OptimizerKind::adam, hidden_layer(0.5));
  Batch b;
  const double whole = classifier.eval_step(b.x(), b.labels()).loss;
  CHECK(whole == classifier.eval_step(b.x(), b.labels()).loss);
  CHECK(whole != classifier.eval_step(b.x(), b.labels(), nullptr, OnNonfinite::raise, true).loss);
}

TEST_CASE("evaluations between the steps leave no trace in the training") {
  Classifier plain = make_classifier(), watched = make_classifier();
  Batch b;
  for (int i = 0; i < 5; ++i) {  // over two rewirings
    train(plain, 1);
    train(watched, 1);
    watched.eval_step(b.x(), b.labels());
  }
  CHECK(state(watched) == state(plain));
}

TEST_CASE("an evaluation refuses what a step refuses") {
  Classifier classifier = make_classifier();
  train(classifier, 1);
  const std::string before = state(classifier);
  Batch b;
  std::vector<float> room(b.embeddings.size(), 7.0f);
  const auto x = [&](int64_t rows, int64_t cols) { return TensorView{b.embeddings.data(), rows, cols}; };
  const auto gradient_of = [&](int64_t rows, int64_t cols) {
    const TensorView gradient{room.data(), rows, cols};
    classifier.eval_step(b.x(), b.labels(), &gradient);
  };
  CHECK_THROWS_AS(classifier.eval_step(x(batch, in_features - 1), b.labels()), ArgumentError);
  CHECK_THROWS_AS(classifier.eval_step(x(0, in_features), b.labels()), ArgumentError);
  CHECK_THROWS_AS(classifier.eval_step(x(batch + 1, in_features), b.labels()), ArgumentError);
  CHECK_THROWS_AS(classifier.eval_step(x(batch - 1, in_features), b.labels()), ArgumentError);  // labels for more
  CHECK_THROWS_AS(gradient_of(batch - 1, in_features), ArgumentError);
  CHECK_THROWS_AS(gradient_of(batch, in_features - 1), ArgumentError);
  TensorView integers = b.x();
  integers.dtype = DType::int32;
  CHECK_THROWS_AS(classifier.eval_step(integers, b.labels()), TypeError);
  Batch unknown = b;
  unknown.indices[1] = num_labels;
  CHECK_THROWS_AS(classifier.eval_step(b.x(), unknown.labels()), ArgumentError);
  b.embeddings[3] = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_AS(gradient_of(batch, in_features), ArgumentError);
  CHECK(classifier.eval_step(b.x(), b.labels(), nullptr, OnNonfinite::skip).skipped);
  CHECK(state(classifier) == before);
  CHECK(classifier.progress().skipped == 0);
  CHECK(room == std::vector<float>(room.size(), 7.0f));
}

TEST_CASE("instances have weights") {
  Batch b;
  const std::vector<float> ones(batch, 1.0f), halves(batch, 0.5f);
  Classifier plain = make(OptimizerKind::sgd, std::nullopt), weighted = make(OptimizerKind::sgd, std::nullopt);
  const auto loss = [&](const float* weights) {
    return plain.eval_step(b.x(), b.labels(), nullptr, OnNonfinite::raise, false, weights).loss;
  };
  CHECK(loss(halves.data()) == doctest::Approx(0.5 * loss(nullptr)));
  plain.train_step(b.x(), b.labels());
  weighted.train_step(b.x(), b.labels(), nullptr, OnNonfinite::raise, ones.data());
  CHECK(state(weighted) == state(plain));
  for (const float wrong : {-1.0f, std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    const std::vector<float> weights = {1.0f, 0.0f, wrong, 1.0f};
    CHECK_THROWS_WITH_AS(weighted.train_step(b.x(), b.labels(), nullptr, OnNonfinite::raise, weights.data()),
                         doctest::Contains("for row 2; use finite numbers >= 0"), ArgumentError);
  }
  CHECK(state(weighted) == state(plain));
}

// LabelData and what comes of it, through the C++ interface.
#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include "model/label_data.h"
#include "scratch_directory.h"
#include "small_classifier.h"
#include "sparsexmc/error.h"

using namespace small_classifier;

namespace {

constexpr int64_t instances = 50;

/// A configuration that asks for everything that LabelData brings.
ClassifierConfig demanding_config() {
  ClassifierConfig config = small_config(OptimizerKind::adam);
  config.num_instances = instances;
  config.initial_bias.kind = InitialBias::Kind::frequency;
  config.positive_weights = PositiveWeights::propensity;
  config.auxiliary = MetaClassifier{4, 0.5, 6};
  return config;
}

std::vector<int64_t> label_counts() {
  std::vector<int64_t> counts(num_labels);
  for (int64_t label = 0; label < num_labels; ++label) counts[static_cast<size_t>(label)] = label * label % instances;
  counts.back() = instances;
  return counts;
}

}  // namespace

TEST_SUITE("label_data") {
  TEST_CASE("a model with all of it trains, is saved, and goes on bit for bit") {
    const ScratchDirectory scratch;
    const std::vector<int64_t> counts = label_counts();
    Classifier classifier(demanding_config(), {.counts = counts.data()});
    train(classifier, 3);
    classifier.save(scratch / "model");
    Classifier loaded = Classifier::load(scratch / "model");
    CHECK(state(loaded) == state(classifier));
    train(classifier, 5);  // past the end of the meta-classifier
    train(loaded, 5);
    CHECK(state(loaded) == state(classifier));
    std::vector<uint32_t> kept(num_labels);
    loaded.read("label_counts", kept.data());
    CHECK(std::vector<int64_t>(kept.begin(), kept.end()) == counts);
  }

  TEST_CASE("biases and weights from frequencies are finite at both ends") {
    const ClassifierConfig config = demanding_config();
    const std::vector<int64_t> counts = label_counts();
    const LabelData labels{.counts = counts.data()};
    const std::vector<float> biases = starting_biases(config, labels, {});
    CHECK(biases.front() == doctest::Approx(std::log(0.5 / 50.5)));
    CHECK(biases.back() == doctest::Approx(std::log(50.5 / 0.5)));
    const std::vector<float> weights = positive_weights(config, labels);
    for (const float weight : weights) CHECK(weight > 1.0f);
    CHECK(starting_biases(config, labels, weights)[3] ==
          doctest::Approx(biases[3] + std::log(static_cast<double>(weights[3]))));
  }

  TEST_CASE("label weights add their logarithm") {
    Classifier classifier = make_classifier();
    train(classifier, 2);
    const std::vector<float> x(in_features, 0.25f), twos(num_labels, 2.0f);
    const TensorView row{const_cast<float*>(x.data()), 1, in_features};
    float plain[5], weighted[5];
    int64_t ids[5], same[5];
    classifier.topk(row, 5, plain, ids);
    classifier.topk(row, 5, weighted, same, twos.data());
    for (int i = 0; i < 5; ++i) {
      CHECK(same[i] == ids[i]);
      CHECK(weighted[i] == doctest::Approx(plain[i] + std::log(2.0)));
    }
    const std::vector<float> wrong(num_labels, 0.0f);
    CHECK_THROWS_AS(classifier.topk(row, 5, weighted, same, wrong.data()), ArgumentError);
  }

  TEST_CASE("what is missing is refused") {
    CHECK_THROWS_AS(Classifier{demanding_config()}, ArgumentError);
    ClassifierConfig config = small_config(OptimizerKind::sgd);
    config.initial_bias.kind = InitialBias::Kind::array;
    CHECK_THROWS_AS(Classifier{config}, ArgumentError);
    config = small_config(OptimizerKind::sgd);
    config.positive_weights = PositiveWeights::array;
    CHECK_THROWS_AS(Classifier{config}, ArgumentError);
    config.positive_weights = PositiveWeights::none;
    config.auxiliary = MetaClassifier{3, 0.5, 6};
    const std::vector<int64_t> clusters(num_labels, 3);
    CHECK_THROWS_AS(Classifier(config, {.clusters = clusters.data()}), ArgumentError);
  }
}

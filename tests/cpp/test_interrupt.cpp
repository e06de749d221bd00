// Ending predictions from outside, and using their classifier meanwhile.
#include "sparsexmc/interrupt.h"

#include <doctest/doctest.h>

#include <optional>
#include <stdexcept>
#include <vector>

#include "sparsexmc/classifier.h"

namespace sparsexmc {
namespace {

struct Prediction {
  static constexpr int64_t rows = 20, labels = 40, features = 8, k = 3;

  Prediction() : x(rows * features), scores(rows * k), ids(rows * k) {
    for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>((i * 7919) % 101) / 50.0f - 1.0f;
    ClassifierConfig config;
    config.in_features = features;
    config.num_labels = labels;
    config.batch_size = 4;
    config.rewiring.reset();
    config.device = "cpu";
    config.num_threads = 2;
    classifier.emplace(config);
  }

  void run(const float* weights) {
    TensorView view;
    view.data = x.data();
    view.rows = rows;
    view.cols = features;
    classifier->topk(view, k, scores.data(), ids.data(), weights);
  }

  std::vector<float> x, scores;
  std::vector<int64_t> ids;
  std::optional<Classifier> classifier;
};

}  // namespace

TEST_CASE("a poll is called between slices, by scopes from the inside out, and its exception ends the call") {
  Prediction prediction;
  int outer = 0, inner = 0;
  {
    const InterruptScope first([&] { ++outer; });
    {
      const InterruptScope second([&] {
        if (++inner == 3) throw std::runtime_error("enough");
      });
      CHECK_THROWS_WITH(prediction.run(nullptr), "enough");
    }
    CHECK(outer == 0);
    prediction.run(nullptr);
    CHECK(outer == 5);
  }
  prediction.run(nullptr);
  CHECK(outer == 5);
  CHECK(inner == 3);
}

TEST_CASE("a poll may predict with other label weights") {
  Prediction prediction;
  std::vector<float> weights(Prediction::labels, 1.0f), others(Prediction::labels, 1.0f);
  for (int64_t label = 0; label < Prediction::labels; ++label) weights[label] = 1.0f + static_cast<float>(label % 5);
  prediction.run(weights.data());
  const std::vector<int64_t> expected = prediction.ids;
  bool busy = false;
  const InterruptScope scope([&] {
    if (busy) return;
    busy = true;
    Prediction other = {};
    prediction.classifier->topk(TensorView{other.x.data(), 4, Prediction::features}, Prediction::k, other.scores.data(),
                                other.ids.data(), others.data());
    busy = false;
  });
  prediction.run(weights.data());
  CHECK(prediction.ids == expected);
}

}  // namespace sparsexmc

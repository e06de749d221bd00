// Training that diverges on a GPU, or on the host shim, where it is found late. Passes without a look where neither is.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "cuda_feed.h"
#include "sparsexmc/error.h"

using namespace cuda_tests;

TEST_CASE("CUDA: a training that diverged is told once, late or not; then a good state trains on") {
  if (!has_cuda()) return;
  for (const bool hidden : {false, true})
    with_late_events([hidden] {
      CAPTURE(hidden);
      ClassifierConfig config = config_on("cuda");
      config.optimizer.kind = OptimizerKind::sgd;
      if (hidden) config.hidden = Hidden{.features = 12};
      Classifier good(config), lost(config);
      Feed feed(lost.context().device());
      lost.set_lr(3e38);
      int64_t first = 0;
      const auto diverge = [&] {
        for (int i = 0; i < 6; ++i) {
          const int64_t ticket = feed.start(lost, i, OnNonfinite::skip, i == 4);
          if (i == 0) first = ticket;
        }
        lost.finish_step(first + 5);
      };
      CHECK_THROWS_AS(diverge(), DivergenceError);
      CHECK_NOTHROW(lost.progress());
      for (const NamedTensor& tensor : good.tensors()) {
        std::vector<std::byte> bytes(tensor.bytes());
        good.read(tensor.name, bytes.data());
        lost.write(tensor.name, bytes.data());
      }
      for (Classifier* classifier : {&good, &lost}) {
        classifier->set_lr(0.01);
        CHECK(std::isfinite(feed.train(*classifier, 1).loss));
      }
      CHECK(feed.train(lost, 2).loss == feed.train(good, 2).loss);
    });
}

TEST_CASE("CUDA: a score that is NaN is found among many that are not") {
  if (!has_cuda()) return;
  for (const std::string device : {"cpu", "cuda"}) {
    CAPTURE(device);
    constexpr int64_t units = 12;
    ClassifierConfig config = config_on(device);
    config.hidden = Hidden{.features = units};
    Classifier classifier(config);
    Feed feed(classifier.context().device());
    feed.train(classifier, 0);
    std::vector<float> scores, hidden(in_features * units), weights(5 * units);
    std::vector<int64_t> ids;
    CHECK_NOTHROW(feed.topk(classifier, scores, ids));
    classifier.read("hidden.weight", hidden.data());
    for (int64_t f = 0; f < in_features; ++f)  // instance 0 begins with -1.25: units 0 and 1 overflow
      for (int64_t u = 0; u < 2; ++u) hidden[f * units + u] = f == 0 ? -3e38f : 0.0f;
    classifier.write("hidden.weight", hidden.data());
    classifier.read("segments.0.weights", weights.data());
    for (int64_t row = 0; row < 5; ++row) weights[row * units] = weights[row * units + 1] = -1.0f;
    classifier.write("segments.0.weights", weights.data());
    std::vector<uint16_t> indices;  // the 16 labels of the tail read other units
    for (int group = 0; group < 4; ++group) indices.insert(indices.end(), {2, 5, 11});
    classifier.write("segments.1.indices", indices.data());
    CHECK_NOTHROW(feed.topk(classifier, scores, ids));  // minus infinity, and others are ranked before it
    weights[0] = 1.0f;                                  // infinity minus infinity in row 0 alone
    classifier.write("segments.0.weights", weights.data());
    CHECK_THROWS_WITH_AS(feed.topk(classifier, scores, ids), doctest::Contains("scores of row 0 are not finite"),
                         ArgumentError);
  }
}

// Running averages: their schedule, and a classifier that keeps them for a while.
#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <vector>

#include "scratch_directory.h"
#include "small_classifier.h"
#include "sparsexmc/error.h"

using namespace small_classifier;

namespace {

std::vector<float> read(const Classifier& classifier, const std::string& name) {
  std::vector<float> values;
  for (const NamedTensor& tensor : classifier.tensors())
    if (tensor.name == name) values.resize(tensor.bytes() / sizeof(float));
  classifier.read(name, values.data());
  return values;
}

}  // namespace

TEST_CASE("which steps are averaged, and how much each counts") {
  WeightAverage ema{.decay = 0.9, .start = 3, .every = 2};
  std::vector<int64_t> steps;
  for (int64_t step = 1; step < 10; ++step)
    if (ema.due(step, 0)) steps.push_back(step);
  CHECK(steps == std::vector<int64_t>{5, 7, 9});
  double sum = 0.0;  // of the weights after five updates
  for (int64_t n = 1; n <= 5; ++n) sum = sum * (1.0 - ema.rate(n)) + ema.rate(n);
  CHECK(sum == doctest::Approx(1.0));
  CHECK(ema.rate(2) == doctest::Approx(0.1 / (1 - 0.81)));
  CHECK(ema.rate(100000) == doctest::Approx(0.1));

  const WeightAverage mean{.method = AverageMethod::mean, .start_share = 0.75};
  CHECK(mean.rate(4) == 0.25);
  CHECK_FALSE(mean.due(1000, 0));
  CHECK_FALSE(mean.due(6, 8));
  CHECK(mean.due(7, 8));
  CHECK(WeightAverage{.decay = 0.0}.rate(7) == 1.0);
}

TEST_CASE("averages predict, are saved, and become the weights") {
  const ScratchDirectory scratch;
  Classifier classifier = make_classifier();
  const size_t before = classifier.memory_plan().total();
  CHECK_THROWS_AS(classifier.use_average(true), ArgumentError);
  CHECK_THROWS_AS(classifier.start_average({.decay = 1.0}), ArgumentError);
  classifier.start_average({.decay = 0.5});
  CHECK_THROWS_AS(classifier.start_average({}), ArgumentError);
  train(classifier, 1);
  const std::vector<float> first = read(classifier, "segments.0.bias");
  CHECK(read(classifier, "optimizer.segments.0.bias.average") == first);
  train(classifier, 1);
  const std::vector<float> second = read(classifier, "segments.0.bias"),
                           average = read(classifier, "optimizer.segments.0.bias.average");
  for (size_t i = 0; i < average.size(); ++i) CHECK(average[i] == doctest::Approx((first[i] + 2 * second[i]) / 3));

  classifier.use_average(true);
  CHECK(classifier.progress().average_in_use);
  CHECK(read(classifier, "segments.0.bias") == average);
  CHECK(read(classifier, "optimizer.segments.0.bias.trained") == second);
  classifier.save(scratch / "model");
  Classifier loaded = Classifier::load(scratch / "model");
  CHECK(state(loaded) == state(classifier));
  CHECK(read(Classifier::load(scratch / "model", "", 0, false), "segments.0.bias") == average);
  train(loaded, 2);
  train(classifier, 2);
  CHECK_FALSE(classifier.progress().average_in_use);
  CHECK(state(loaded) == state(classifier));

  const std::vector<float> last = read(classifier, "optimizer.segments.0.bias.average");
  classifier.stop_average(true);
  CHECK(read(classifier, "segments.0.bias") == last);
  CHECK(classifier.memory_plan().total() == before);
  CHECK(classifier.context().pool().statistics().current == before);
  CHECK(classifier.context().pool().statistics().reserved == before);
}

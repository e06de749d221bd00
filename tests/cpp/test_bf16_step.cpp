// The fused step on the CPU with products that read bfloat16: near the step in fp32, whatever the sizes, and the same
// bits on any number of threads.
#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "sparsexmc/classifier.h"

namespace {

using namespace sparsexmc;

struct Shape {
  int64_t in_features, num_labels, fan_in, group_size, dense_labels, batch;
};

/// The outcome of three steps: losses, gradients at the embeddings, and weights.
struct Outcome {
  std::vector<double> losses;
  std::vector<float> gradients;
  std::string tensors;
};

Outcome train(const Shape& shape, DType compute, int threads) {
  ClassifierConfig config;
  config.in_features = shape.in_features;
  config.num_labels = shape.num_labels;
  config.fan_in = shape.fan_in;
  config.group_size = shape.group_size;
  config.dense_labels = shape.dense_labels;
  config.batch_size = shape.batch;
  config.labels_per_instance = 2;
  config.topk = 1;
  config.optimizer.kind = OptimizerKind::adam;
  config.compute_dtype = compute;
  config.num_threads = threads;
  Classifier classifier(config);
  Outcome outcome;
  for (int step = 0; step < 3; ++step) {
    const int64_t batch = step == 1 ? (shape.batch + 1) / 2 : shape.batch;
    std::vector<float> embeddings(static_cast<size_t>(batch * shape.in_features)), gradient(embeddings.size());
    std::vector<int64_t> starts = {0}, ids;
    for (size_t i = 0; i < embeddings.size(); ++i)
      embeddings[i] = static_cast<float>((static_cast<int64_t>(i) * 37 + step) % 101 - 50) / 40;
    for (int64_t b = 0; b < batch; ++b) {
      if (b % 3 != 0) ids.push_back((b * 7 + step) % shape.num_labels);
      starts.push_back(static_cast<int64_t>(ids.size()));
    }
    const TensorView out{gradient.data(), batch, shape.in_features};
    outcome.losses.push_back(classifier
                                 .train_step({embeddings.data(), batch, shape.in_features},
                                             {batch, {starts.data(), true}, {ids.data(), true}}, &out)
                                 .loss);
    outcome.gradients.insert(outcome.gradients.end(), gradient.begin(), gradient.end());
  }
  for (const NamedTensor& tensor : classifier.tensors()) {
    std::string data(tensor.bytes(), '\0');
    classifier.read(tensor.name, data.data());
    outcome.tensors += data;
  }
  return outcome;
}

}  // namespace

TEST_CASE("a step in bfloat16 is near the one in float32 and the same on any number of threads") {
  const Shape shapes[] = {
      {1, 1, 1, 16, 0, 1},         {70, 400, 7, 16, 40, 33}, {128, 900, 32, 16, 160, 256},
      {65, 500, 17, 5, 0, 300},    {50, 333, 3, 1, 33, 1},   {100, 900, 100, 48, 96, 257},
      {33, 260, 33, 100, 100, 40}, {70000, 70, 3, 16, 0, 2},  // wide indices
  };
  for (const Shape& shape : shapes) {
    CAPTURE(shape.in_features);
    CAPTURE(shape.group_size);
    const Outcome wide = train(shape, DType::float32, 1), narrow = train(shape, DType::bfloat16, 1);
    const Outcome threads = train(shape, DType::bfloat16, 3);
    CHECK(narrow.losses == threads.losses);
    CHECK(narrow.gradients == threads.gradients);
    CHECK(narrow.tensors == threads.tensors);
    CHECK(narrow.losses.front() == doctest::Approx(wide.losses.front()).epsilon(1e-3));
    double error = 0, norm = 0;
    for (size_t i = 0; i < wide.gradients.size(); ++i) {
      error += std::pow(static_cast<double>(wide.gradients[i] - narrow.gradients[i]), 2);
      norm += std::pow(static_cast<double>(wide.gradients[i]), 2);
    }
    CHECK(std::sqrt(error) < 0.03 * std::sqrt(norm));
    if (shape.group_size > 1) CHECK(error > 0);
  }
}

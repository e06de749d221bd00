// Uses sparsexmc as an installed package: trains a few steps on random data and checks that the loss falls.
#include <cstdint>
#include <cstdio>
#include <random>
#include <vector>

#include "sparsexmc/classifier.h"
#include "sparsexmc/error.h"

int main() {
  constexpr int64_t rows = 32, features = 48, num_labels = 1000;

  std::mt19937 random(0);
  std::normal_distribution<float> normal;
  std::vector<float> x(rows * features);
  for (float& value : x) value = normal(random);
  std::vector<int64_t> indptr = {0}, indices;
  for (int64_t row = 0; row < rows; ++row) {
    indices.push_back(random() % num_labels);
    indices.push_back(random() % num_labels);  // may be the same label again: it counts once
    indptr.push_back(static_cast<int64_t>(indices.size()));
  }

  sparsexmc::ClassifierConfig config;
  config.in_features = features;
  config.num_labels = num_labels;
  config.fan_in = 16;
  config.batch_size = rows;
  config.optimizer.kind = sparsexmc::OptimizerKind::adam;
  config.optimizer.adam.lr = 0.02;
  sparsexmc::Classifier classifier(config);

  const sparsexmc::TensorView embeddings{.data = x.data(), .rows = rows, .cols = features};
  const sparsexmc::LabelsView labels{.rows = rows, .indptr = {indptr.data(), true}, .indices = {indices.data(), true}};
  const double first = classifier.train_step(embeddings, labels).loss;
  double last = first;
  for (int step = 0; step < 30; ++step) last = classifier.train_step(embeddings, labels).loss;
  std::printf("loss %.4f -> %.4f\n", first, last);
  if (!(last < 0.5 * first)) return 1;

  try {  // errors of the library arrive as its own types
    classifier.train_step({.data = x.data(), .rows = rows, .cols = features - 1}, labels);
    return 2;
  } catch (const sparsexmc::ArgumentError& error) {
    std::printf("as it should be: %s\n", error.what());
  }
  return 0;
}

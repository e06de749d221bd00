// A classifier small enough to save and load thousands of times, with a dense and a fan-in segment.
#pragma once

#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

#include "sparsexmc/classifier.h"

namespace small_classifier {

using namespace sparsexmc;

inline constexpr int64_t num_labels = 21, in_features = 10, batch = 4;

inline ClassifierConfig small_config(OptimizerKind optimizer) {
  ClassifierConfig config;
  config.in_features = in_features;
  config.num_labels = num_labels;
  config.fan_in = 3;
  config.group_size = 4;
  config.dense_labels = 5;
  config.optimizer.kind = optimizer;
  config.rewiring = Rewiring{};
  config.rewiring->interval = 2;
  config.batch_size = batch;
  config.labels_per_instance = 4;
  config.topk = 5;
  config.num_threads = 1;
  config.seed = 0xfedcba9876543210;
  return config;
}

/// A classifier whose label order is not the identity.
inline Classifier make_classifier(OptimizerKind optimizer = OptimizerKind::adam) {
  std::vector<int64_t> order(num_labels);
  std::iota(order.rbegin(), order.rend(), 0);
  return Classifier(small_config(optimizer), {.order = order.data()});
}

inline void train(Classifier& classifier, int steps) {
  for (int i = 0; i < steps; ++i) {
    std::vector<float> embeddings(batch * in_features);
    const int64_t step = classifier.progress().step;
    for (size_t j = 0; j < embeddings.size(); ++j)
      embeddings[j] = static_cast<float>((static_cast<int64_t>(j) * 7 + step) % 11 - 5) / 4;
    const std::vector<int64_t> indptr = {0, 2, 3, 3, 5};
    const std::vector<int64_t> indices = {step % num_labels, 20, 3, 7, 8};
    classifier.train_step({embeddings.data(), batch, in_features},
                          {batch, {indptr.data(), true}, {indices.data(), true}});
  }
}

/// All tensors, one after another.
inline std::string state(const Classifier& classifier) {
  std::string bytes;
  for (const NamedTensor& tensor : classifier.tensors()) {
    std::string data(tensor.bytes(), '\0');
    classifier.read(tensor.name, data.data());
    bytes += tensor.name + data;
  }
  return bytes;
}

}  // namespace small_classifier

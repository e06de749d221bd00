// Trains, evaluates, saves and reloads a sparse classifier from C++ alone.
// Usage: native [data.txt] [--model DIR]
#include <algorithm>
#include <cstdint>
#include <exception>
#include <iostream>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "data.h"
#include "sparsexmc/classifier.h"
#include "sparsexmc/metrics.h"
#include "sparsexmc/plan.h"

namespace {

constexpr int64_t batch_size = 64;
constexpr int epochs = 8;

struct Arguments {
  std::string data;  ///< a text file of the extreme-classification repository; empty: make documents up
  std::string model = "model";
};

Arguments parse(int argc, char** argv) {
  Arguments arguments;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--model" && i + 1 < argc) {
      arguments.model = argv[++i];
    } else if (arguments.data.empty() && !word.starts_with("--")) {
      arguments.data = word;
    } else {
      throw std::invalid_argument("usage: native [data.txt] [--model DIR]");
    }
  }
  return arguments;
}

int64_t longest_row(const sparsexmc::CsrMatrix& matrix) {
  int64_t longest = 1;
  for (int64_t row = 0; row < matrix.rows; ++row) {
    longest = std::max(longest, matrix.indptr[row + 1] - matrix.indptr[row]);
  }
  return longest;
}

sparsexmc::ClassifierConfig configure(const sparsexmc::RepositoryData& train) {
  const int64_t steps = epochs * ((train.features.rows + batch_size - 1) / batch_size);
  sparsexmc::ClassifierConfig config;
  config.in_features = train.features.cols;
  config.num_labels = train.labels.cols;
  // The hidden layer turns sparse rows of words into 256 dense features.
  config.sparse_input = true;
  config.hidden = sparsexmc::Hidden{.features = 256, .dropout = 0.1};
  // The most frequent labels read all 256; the others read 64 each, and 16 of them share which 64.
  config.dense_labels = std::max<int64_t>(1, config.num_labels / 20);
  config.fan_in = 64;
  config.group_size = 16;
  config.rewiring = sparsexmc::Rewiring{.fraction = 0.1, .interval = 100, .stop = steps * 3 / 4};
  config.optimizer.kind = sparsexmc::OptimizerKind::adam;
  config.optimizer.adam.lr = 5e-3;
  config.schedule.kind = sparsexmc::ScheduleKind::linear;
  config.schedule.total_steps = steps;
  // Most labels are absent from most rows: starting there saves the first steps from learning it.
  config.initial_bias = -5.0;
  // What a step may bring at most; the memory plan reserves for it.
  config.batch_size = batch_size;
  config.labels_per_instance = longest_row(train.labels);
  config.features_per_instance = longest_row(train.features);
  return config;
}

void train(sparsexmc::Classifier& classifier, const sparsexmc::RepositoryData& data) {
  std::vector<int64_t> starts;
  for (int64_t first = 0; first < data.features.rows; first += batch_size) starts.push_back(first);
  std::mt19937 random(3);
  for (int epoch = 1; epoch <= epochs; ++epoch) {
    std::shuffle(starts.begin(), starts.end(), random);
    double loss = 0;
    for (const int64_t first : starts) {
      const int64_t rows = std::min(batch_size, data.features.rows - first);
      loss +=
          classifier.train_step(feature_rows(data.features, first, rows), label_rows(data.labels, first, rows)).loss;
    }
    std::cout << "epoch " << epoch << "  loss " << loss / static_cast<double>(starts.size()) << std::endl;
  }
}

/// The k best labels of every row, best first, [rows, k].
std::vector<int64_t> predict(sparsexmc::Classifier& classifier, const sparsexmc::CsrMatrix& features, int64_t k) {
  std::vector<float> scores(features.rows * k);
  std::vector<int64_t> ids(features.rows * k);
  classifier.topk(feature_rows(features, 0, features.rows), k, scores.data(), ids.data());
  return ids;
}

void run(const Arguments& arguments) {
  const auto [train_data, test_data] = split(
      arguments.data.empty() ? make_documents(20'000, 4'000, 2'000) : sparsexmc::read_repository(arguments.data), 0.2);
  std::cout << train_data.features.rows << " rows to train on, " << test_data.features.rows << " to test, "
            << train_data.features.cols << " features, " << train_data.labels.cols << " labels\n\n";

  const sparsexmc::ClassifierConfig config = configure(train_data);
  std::cout << sparsexmc::plan(config).table() << '\n';  // every byte, before any is allocated

  // The frequency of the labels decides which of them are dense.
  std::vector<int64_t> counts(config.num_labels);
  for (const int32_t label : train_data.labels.indices) ++counts[label];
  sparsexmc::Classifier classifier(config, {.counts = counts.data()});
  train(classifier, train_data);

  const int64_t k = std::min<int64_t>(5, config.num_labels);
  const std::vector<int64_t> ids = predict(classifier, test_data.features, k);
  sparsexmc::RankingMetrics metrics(config.num_labels, {1, k});
  metrics.update(ids.data(), k, label_rows(test_data.labels, 0, test_data.labels.rows));
  for (const sparsexmc::MetricsAtK& at : metrics.compute()) {
    std::cout << "P@" << at.k << ' ' << 100 * at.precision << "  nDCG@" << at.k << ' ' << 100 * at.ndcg << '\n';
  }

  classifier.save(arguments.model);
  sparsexmc::Classifier reloaded = sparsexmc::Classifier::load(arguments.model);
  if (predict(reloaded, test_data.features, k) != ids)
    throw std::runtime_error("the reloaded model predicts otherwise");
  std::cout << "saved to " << arguments.model << ", reloaded: the same predictions\n";
}

}  // namespace

int main(int argc, char** argv) {
  try {
    run(parse(argc, argv));
    return 0;
  } catch (const std::exception& error) {  // sparsexmc::Error and its kinds among them: see sparsexmc/error.h
    std::cerr << error.what() << '\n';
    return 1;
  }
}

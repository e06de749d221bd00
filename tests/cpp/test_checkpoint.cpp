// Classifier::save and Classifier::load: nothing is lost, training goes on bit for bit, and no damage goes unnoticed.
#include "sparsexmc/checkpoint.h"

#include <doctest/doctest.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <numeric>
#include <string>
#include <vector>

#include "checkpoint/sha256.h"
#include "scratch_directory.h"
#include "sparsexmc/classifier.h"
#include "sparsexmc/error.h"

using namespace sparsexmc;
namespace fs = std::filesystem;

namespace {

constexpr int64_t num_labels = 21, in_features = 10, batch = 4;

ClassifierConfig small_config(OptimizerKind optimizer) {
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
Classifier make_classifier(OptimizerKind optimizer = OptimizerKind::adam) {
  std::vector<int64_t> order(num_labels);
  std::iota(order.rbegin(), order.rend(), 0);
  return Classifier(small_config(optimizer), order.data());
}

void train(Classifier& classifier, int steps) {
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
std::string state(const Classifier& classifier) {
  std::string bytes;
  for (const NamedTensor& tensor : classifier.tensors()) {
    std::string data(tensor.bytes(), '\0');
    classifier.read(tensor.name, data.data());
    bytes += tensor.name + data;
  }
  return bytes;
}

std::vector<std::string> label_names() {
  std::vector<std::string> names;
  for (int64_t i = 0; i < num_labels; ++i) names.push_back("label " + std::to_string(i) + " äöü\r");
  names[4].clear();
  return names;
}

/// Changes config.json as someone would who also knows how to make its hash fit.
template <class Edit>
void forge(const std::string& directory, Edit&& edit) {
  auto json = nlohmann::json::parse(read_text(directory + "/config.json"));
  edit(json);
  json.erase("sha256");
  json["sha256"] = checkpoint::sha256(json.dump());
  write_text(directory + "/config.json", json.dump());
}

/// Changes header and data of a safetensors file, and makes config.json fit.
template <class Edit>
void forge_tensors(const std::string& directory, const std::string& name, Edit&& edit) {
  const std::string text = read_text(directory + "/" + name);
  uint64_t length = 0;
  std::memcpy(&length, text.data(), sizeof length);
  auto header = nlohmann::json::parse(text.substr(sizeof length, length));
  std::string data = text.substr(sizeof length + length);
  edit(header, data);
  const std::string header_text = header.dump();
  length = header_text.size();
  const std::string forged = std::string(reinterpret_cast<const char*>(&length), sizeof length) + header_text + data;
  write_text(directory + "/" + name, forged);
  forge(directory, [&](nlohmann::json& json) {
    json["files"][name] = {{"bytes", forged.size()}, {"sha256", checkpoint::sha256(forged)}};
  });
}

}  // namespace

TEST_CASE("a loaded classifier equals the saved one and trains on bit for bit") {
  for (const OptimizerKind optimizer : {OptimizerKind::sgd, OptimizerKind::adam}) {
    CAPTURE(static_cast<int>(optimizer));
    const ScratchDirectory scratch;
    Classifier classifier = make_classifier(optimizer);
    train(classifier, 5);
    classifier.set_lr(0.1 + 0.2);
    classifier.save(scratch / "model");
    Classifier loaded = Classifier::load(scratch / "model", "cpu", 1);
    CHECK(state(loaded) == state(classifier));
    CHECK(loaded.config().to_json() == classifier.config().to_json());
    CHECK(loaded.progress().lr == 0.1 + 0.2);
    CHECK(loaded.progress().step == 5);
    CHECK(loaded.progress().skipped == classifier.progress().skipped);
    REQUIRE(loaded.progress().rewirings.size() == classifier.progress().rewirings.size());
    CHECK(loaded.progress().rewirings.size() >= 2);
    for (size_t i = 0; i < loaded.progress().rewirings.size(); ++i) {
      const RewiringRecord &a = loaded.progress().rewirings[i], &b = classifier.progress().rewirings[i];
      CHECK(a.step == b.step);
      CHECK(a.segment == b.segment);
      CHECK(a.changed == b.changed);
      CHECK(a.score_dropped == b.score_dropped);
      CHECK(a.score_grown == b.score_grown);
    }
    train(classifier, 5);
    train(loaded, 5);
    CHECK(state(loaded) == state(classifier));
    loaded.save(scratch / "model");  // replaces the first
    CHECK(state(Classifier::load(scratch / "model")) == state(classifier));
    CHECK(list_names(scratch.path()) == std::set<std::string>{"model"});
  }
}

TEST_CASE("the files of a checkpoint") {
  const ScratchDirectory scratch;
  Classifier classifier = make_classifier();
  train(classifier, 2);
  classifier.save(scratch / "model", label_names());
  CHECK(list_names(scratch / "model") ==
        std::set<std::string>{"README.md", "config.json", "labels.txt", "model.safetensors", "optimizer.safetensors"});
  CHECK(load_label_names(scratch / "model") == label_names());
  const auto info = nlohmann::json::parse(read_checkpoint_info(scratch / "model"));
  CHECK(info["format"] == "sparsexmc-checkpoint");
  CHECK(info["format_version"] == 1);
  CHECK(info["config"]["num_labels"] == num_labels);
  CHECK(info["progress"]["step"] == 2);
  CHECK(info["rng"]["key"] == 0xfedcba9876543210);
  for (const auto& [name, record] : info["files"].items()) {
    const std::string text = read_text(scratch / "model/" + name);
    CHECK(record["bytes"] == text.size());
    CHECK(record["sha256"] == checkpoint::sha256(text));
  }
  CHECK(info["files"].size() == 4);
  CHECK(read_text(scratch / "model/README.md").find("# Classifier of 21 labels") != std::string::npos);
  CHECK(read_text(scratch / "model/optimizer.safetensors").find("\"segments") == std::string::npos);
  CHECK(read_text(scratch / "model/model.safetensors").find("optimizer.") == std::string::npos);

  classifier.save(scratch / "model", {}, "# My card\n");  // the label names go
  CHECK(load_label_names(scratch / "model").empty());
  CHECK(read_text(scratch / "model/README.md") == "# My card\n");
  CHECK_FALSE(fs::exists(scratch / "model/labels.txt"));
}

TEST_CASE("label names that labels.txt cannot hold are refused before anything is written") {
  const ScratchDirectory scratch;
  const Classifier classifier = make_classifier();
  const auto refused = [&](size_t id, const std::string& name) {
    auto names = label_names();
    names[id] = name;
    CHECK_THROWS_AS(classifier.save(scratch / "model", names), ArgumentError);
  };
  refused(7, "two\nlines");
  for (const char* name : {"\xff", "\xc3", "\xe2\x82", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "a\x80"})
    refused(0, name);
  CHECK_THROWS_AS(classifier.save(scratch / "model", {"one", "two"}), ArgumentError);
  CHECK(list_names(scratch.path()).empty());
}

TEST_CASE("every truncation and every flipped bit of every file is noticed") {
  const ScratchDirectory scratch;
  const std::string path = scratch / "model";
  Classifier classifier = make_classifier();
  train(classifier, 2);
  classifier.save(path, label_names());
  const std::string original = state(classifier);
  for (const std::string& name : list_names(path)) {
    CAPTURE(name);
    const std::string good = read_text(path + "/" + name);
    const auto is_noticed = [&](const std::string& damaged) {
      write_text(path + "/" + name, damaged);
      try {
        return state(Classifier::load(path)) == original;  // white space of config.json may change
      } catch (const CheckpointError&) {
        return true;
      }
    };
    size_t unnoticed = 0;
    for (size_t length = 0; length < good.size(); length += 7) unnoticed += !is_noticed(good.substr(0, length));
    for (size_t i = 0; i < good.size(); i += name == "config.json" ? 1 : 5) {
      std::string damaged = good;
      damaged[i] = static_cast<char>(damaged[i] ^ (1 << i % 8));
      unnoticed += !is_noticed(damaged);
    }
    CHECK(unnoticed == 0);
    fs::remove(path + "/" + name);
    CHECK_THROWS_AS(Classifier::load(path), CheckpointError);
    write_text(path + "/" + name, good);
  }
  CHECK(state(Classifier::load(path)) == original);
}

TEST_CASE("a config.json of another format, a newer version or without a key says so") {
  const ScratchDirectory scratch;
  const std::string path = scratch / "model";
  const Classifier classifier = make_classifier();
  const auto refused = [&](const std::string& message, const auto& edit) {
    classifier.save(path);
    forge(path, edit);
    CHECK_THROWS_WITH_AS(Classifier::load(path), doctest::Contains(message.c_str()), CheckpointError);
  };
  using Json = nlohmann::json;
  refused("is not of the format sparsexmc-checkpoint", [](Json& json) { json["format"] = "other"; });
  classifier.save(scratch / "second");  // the directory above is no checkpoint any more
  CHECK_THROWS_AS(classifier.save(path), CheckpointError);
  fs::remove_all(path);

  refused("has format_version 2 (written by sparsexmc 9.9)", [](Json& json) {
    json["format_version"] = 2;
    json["library_version"] = "9.9";
  });
  for (const char* key : {"format_version", "library_version", "config", "progress", "rng", "files"})
    refused("'" + std::string(key) + "' is missing", [&](Json& json) { json.erase(key); });
  for (const char* key : {"step", "skipped", "lr", "rewirings", "kept"})
    refused("'" + std::string(key) + "' is missing", [&](Json& json) { json["progress"].erase(key); });
  refused("does not list 'model.safetensors'", [](Json& json) { json["files"].erase("model.safetensors"); });
  refused("lists the unknown file '../secret'", [](Json& json) { json["files"]["../secret"] = Json::object(); });
  refused("num_labels", [](Json& json) { json["config"]["num_labels"] = -1; });
  refused("too few for the configuration", [](Json& json) { json["config"]["num_labels"] = 4'000'000'000; });
  refused("too few for the kept batches",
          [](Json& json) { json["progress"]["kept"] = {{{"batch", 1}, {"positives", int64_t{1} << 60}}}; });
  refused("in_features", [](Json& json) { json["config"].erase("in_features"); });
  refused("another random stream", [](Json& json) { json["rng"]["key"] = 1; });
  refused("another random stream", [](Json& json) { json["rng"]["algorithm"] = "mt19937"; });
  refused("but the configuration needs", [](Json& json) { json["config"]["num_labels"] = num_labels - 1; });
}

TEST_CASE("tensors that do not fit the configuration are refused by name, even when the hashes fit") {
  const ScratchDirectory scratch;
  const std::string path = scratch / "model";
  const Classifier classifier = make_classifier();
  using Json = nlohmann::json;
  const auto refused = [&](const std::string& message, const auto& edit, const char* file = "model.safetensors") {
    classifier.save(path);
    forge_tensors(path, file, edit);
    CHECK_THROWS_WITH_AS(Classifier::load(path), doctest::Contains(message.c_str()), CheckpointError);
  };
  const Json empty_tensor = {{"dtype", "U8"}, {"shape", {0}}, {"data_offsets", {0, 0}}};
  refused("tensor 'label_order' is missing", [](Json& header, std::string&) {
    header["other"] = header["label_order"];
    header.erase("label_order");
  });
  refused("'segments.0.bias' is int32 [5], but the configuration needs float32 [5]",
          [](Json& header, std::string&) { header["segments.0.bias"]["dtype"] = "I32"; });
  refused("'segments.0.weights' is float32 [10, 5], but the configuration needs float32 [5, 10]",
          [](Json& header, std::string&) { header["segments.0.weights"]["shape"] = {10, 5}; });
  refused("the model has no tensor 'other'", [&](Json& header, std::string&) { header["other"] = empty_tensor; });
  refused("'optimizer.other' is in the wrong file",
          [&](Json& header, std::string&) { header["optimizer.other"] = empty_tensor; });
  refused(
      "'other' is in the wrong file", [&](Json& header, std::string&) { header["other"] = empty_tensor; },
      "optimizer.safetensors");
  refused("label_order", [](Json& header, std::string& data) {
    const size_t first = header["label_order"]["data_offsets"][0];
    data[first] = data[first + 8];  // an id twice
  });
  refused("segments.1.indices", [](Json& header, std::string& data) {
    const size_t first = header["segments.1.indices"]["data_offsets"][0];
    data[first] = data[first + 2];  // a feature twice
  });
}

TEST_CASE("arguments of load") {
  const ScratchDirectory scratch;
  make_classifier().save(scratch / "model");
  CHECK(Classifier::load(scratch / "model", "cpu", 2).config().num_threads == 2);
  CHECK_THROWS_AS(Classifier::load(scratch / "model", "abacus"), ArgumentError);
  CHECK_THROWS_AS(Classifier::load(scratch / "model", "cpu", -1), ArgumentError);
  CHECK_THROWS_AS(Classifier::load(scratch / "absent"), CheckpointError);
  CHECK_THROWS_AS(load_label_names(scratch / "absent"), CheckpointError);
  CHECK_THROWS_AS(read_checkpoint_info(scratch / "absent"), CheckpointError);
}

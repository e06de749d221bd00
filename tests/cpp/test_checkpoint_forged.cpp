// Checkpoints that someone changed who knows how to make every hash fit: their content is checked as well.
#include <doctest/doctest.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "checkpoint/sha256.h"
#include "scratch_directory.h"
#include "small_classifier.h"
#include "sparsexmc/error.h"

using namespace small_classifier;
namespace fs = std::filesystem;

namespace {

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

  refused("has format_version 3 (written by sparsexmc 9.9)", [](Json& json) {
    json["format_version"] = 3;
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

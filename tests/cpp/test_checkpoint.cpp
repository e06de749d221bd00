// Classifier::save and Classifier::load: nothing is lost, training goes on bit for bit, and no damage goes unnoticed.
#include "sparsexmc/checkpoint.h"

#include <doctest/doctest.h>

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "checkpoint/sha256.h"
#include "scratch_directory.h"
#include "small_classifier.h"
#include "sparsexmc/error.h"

using namespace small_classifier;
namespace fs = std::filesystem;

namespace {

std::vector<std::string> label_names() {
  std::vector<std::string> names;
  for (int64_t i = 0; i < num_labels; ++i) names.push_back("label " + std::to_string(i) + " äöü\r");
  names[4].clear();
  return names;
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
    CHECK(loaded.progress().rewirings.size() >= 2);
    loaded.save(scratch / "copy");
    for (const std::string& name : list_names(scratch / "model"))
      CHECK(read_text(scratch / "copy/" + name) == read_text(scratch / "model/" + name));
    fs::remove_all(scratch / "copy");
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
  CHECK(info["format_version"] == 2);
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

// Savers side by side, permissions, and the places where nothing is saved.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "checkpoint/directory.h"
#include "checkpoint/manifest.h"
#include "checkpoint/temporary_directory.h"
#include "scratch_directory.h"
#include "sparsexmc/checkpoint.h"
#include "sparsexmc/error.h"

using namespace sparsexmc;
using namespace sparsexmc::checkpoint;
namespace fs = std::filesystem;

namespace {

/// Saves what looks like a checkpoint; `content` tells one from another.
void save(const std::string& path, const std::string& content, bool exchange = true) {
  AtomicDirectory target(path);
  for (const auto& [name, text] : {std::pair<std::string, std::string>{model_file, content},
                                   {manifest_file, R"({"format":"sparsexmc-checkpoint"})"}}) {
    OutputFile file(target.directory(), name);
    file.write(text);
    file.finish();
  }
  target.publish({}, exchange);
}

mode_t mode_of(const std::string& path) {
  struct stat status;
  REQUIRE(stat(path.c_str(), &status) == 0);
  return status.st_mode & 07777;
}

}  // namespace

TEST_CASE("a temporary directory that is taken for a leftover before it is locked is made again") {
  for (const bool is_slow : {false, true}) {
    CAPTURE(is_slow);
    const ScratchDirectory scratch;
    int calls = 0;
    std::thread other;
    const Directory directory = make_temporary(scratch / "model", model_kind(), [&](const std::string& path) {
      if (++calls == 2) return;
      // What another saver does with what it takes for a leftover.
      auto leftover = std::make_shared<FileDescriptor>(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
      REQUIRE(flock(leftover->get(), LOCK_EX | LOCK_NB) == 0);
      other = std::thread([=]() mutable {
        if (is_slow) std::this_thread::sleep_for(std::chrono::milliseconds(50));
        rmdir(path.c_str());
        leftover.reset();
      });
      leftover.reset();
      if (!is_slow) other.join();
    });
    if (other.joinable()) other.join();
    CHECK(calls == 2);
    CHECK(list_names(scratch.path()) == std::set<std::string>{fs::path(directory.path()).filename()});
    CHECK(flock(FileDescriptor(open(directory.path().c_str(), O_RDONLY | O_CLOEXEC)).get(), LOCK_EX | LOCK_NB) != 0);
  }
}

TEST_CASE("of savers to one path at the same time each succeeds, and the last wins whole") {
  for (const bool exchange : {true, false}) {
    CAPTURE(exchange);
    const ScratchDirectory scratch;
    std::vector<std::string> errors(3);
    std::vector<std::thread> savers;
    for (size_t s = 0; s < errors.size(); ++s)
      savers.emplace_back([&, s] {
        try {
          for (int i = 0; i < 20; ++i) save(scratch / "model", std::to_string(s), exchange);
        } catch (const Error& error) {
          errors[s] = error.what();
        }
      });
    for (std::thread& saver : savers) saver.join();
    for (const std::string& error : errors) CHECK(error == "");
    CHECK(list_names(scratch / "model") == std::set<std::string>{"config.json", "model.safetensors"});
    save(scratch / "model", "last", exchange);
    CHECK(read_text(scratch / "model/model.safetensors") == "last");
    CHECK(list_names(scratch.path()) == std::set<std::string>{"model"});
  }
}

TEST_CASE("what replaces a directory has its permissions, while it is written, too") {
  const ScratchDirectory scratch;
  const std::string path = scratch / "model", file = path + "/" + model_file;
  for (const bool exchange : {true, false}) {
    CAPTURE(exchange);
    save(path, "first", exchange);
    REQUIRE(chmod(path.c_str(), 02750) == 0);
    REQUIRE(chmod(file.c_str(), 0600) == 0);
    CHECK(mode_of(AtomicDirectory(path).directory().path()) == 02750);
    save(path, "second", exchange);
    CHECK(mode_of(path) == 02750);
    CHECK(mode_of(file) == 0600);
    CHECK(mode_of(path + "/" + manifest_file) != 0600);
    fs::remove_all(path);
  }
}

TEST_CASE("nothing is saved into a model but what is hidden") {
  const ScratchDirectory scratch;
  const std::string path = scratch / "model";
  save(path, "first");
  for (const std::string inner : {"/inner", "/deep/inner", "/config.json", "/../model/inner"})
    CHECK_THROWS_WITH_AS(AtomicDirectory(path + inner),
                         doctest::Contains(("lies in the model directory '" + path + "'").c_str()), CheckpointError);
  CHECK(enclosing_model(path + "/deep/inner") == path);
  CHECK(enclosing_model(path + "/.hidden/inner").empty());
  CHECK(enclosing_model(path).empty());
  CHECK(enclosing_model(scratch / "other").empty());
  save(path + "/.inner", "hidden");
  CHECK(list_names(path) == std::set<std::string>{"config.json", "model.safetensors", ".inner"});
}

// Replacing a checkpoint directory: whole at every moment, nothing of the user's lost, nothing left behind.
#include <doctest/doctest.h>
#include <signal.h>
#include <sys/resource.h>

#include <filesystem>
#include <string>

#include "checkpoint/directory.h"
#include "checkpoint/manifest.h"
#include "checkpoint/open_model.h"
#include "checkpoint/temporary_directory.h"
#include "scratch_directory.h"
#include "sparsexmc/error.h"

using namespace sparsexmc;
using namespace sparsexmc::checkpoint;
namespace fs = std::filesystem;

namespace {

/// Fills the directory with what looks like a checkpoint; `content` tells one from another.
void fill(const Directory& directory, const std::string& content) {
  for (const auto& [name, text] : {std::pair<std::string, std::string>{model_file, content},
                                   {manifest_file, R"({"format":"sparsexmc-checkpoint"})"}}) {
    OutputFile file(directory, name);
    file.write(text);
    file.finish();
  }
}

void save(const std::string& path, const std::string& content, bool exchange = true) {
  AtomicDirectory target(path);
  fill(target.directory(), content);
  target.publish({}, exchange);
}

/// The content that a reader finds, also where it was set aside.
std::string load(const std::string& path) {
  const Directory directory(fs::exists(path) ? path : aside_path(path));
  CHECK(find_model_files(directory).has_value());
  return InputFile(directory, model_file).text(100);
}

std::string message_of(const std::string& path) {
  try {
    AtomicDirectory target(path);
  } catch (const CheckpointError& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("a directory is made, replaced, and leaves nothing beside it") {
  const ScratchDirectory scratch;
  const std::string path = scratch / "runs/today/model";
  for (const bool exchange : {true, false}) {
    CAPTURE(exchange);
    save(path, "first", exchange);
    CHECK(load(path) == "first");
    save(path + "/", "second", exchange);
    CHECK(load(path) == "second");
    CHECK(list_names(scratch / "runs/today") == std::set<std::string>{"model"});
    CHECK(list_names(path) == std::set<std::string>{"config.json", "model.safetensors"});
  }
  fs::create_directory(scratch / "empty");
  save(scratch / "empty", "third");
  CHECK(load(scratch / "empty") == "third");
}

TEST_CASE("a link to a checkpoint stays a link") {
  const ScratchDirectory scratch;
  save(scratch / "real", "first");
  fs::create_directory_symlink(scratch / "real", scratch / "link");
  save(scratch / "link", "second");
  CHECK(fs::is_symlink(scratch / "link"));
  CHECK(load(scratch / "real") == "second");
  CHECK(list_names(scratch.path()) == std::set<std::string>{"real", "link"});
}

TEST_CASE("hidden files and folders move into the new directory, others are refused by name") {
  const ScratchDirectory scratch;
  const std::string path = scratch / "model";
  for (const bool exchange : {true, false}) {
    CAPTURE(exchange);
    save(path, "first", exchange);
    write_text(path + "/.gitattributes", "*.safetensors filter=lfs");
    fs::create_directory(path + "/.git");
    write_text(path + "/.git/config", "[core]");
    save(path, "second", exchange);
    CHECK(load(path) == "second");
    CHECK(read_text(path + "/.gitattributes") == "*.safetensors filter=lfs");
    CHECK(read_text(path + "/.git/config") == "[core]");
    write_text(path + "/metrics.jsonl", "{}");
    CHECK(message_of(path).find("holds 'metrics.jsonl', which is no part of the model there") != std::string::npos);
    CHECK(load(path) == "second");
    CHECK(list_names(scratch.path()) == std::set<std::string>{"model"});
    fs::remove_all(path);
  }
}

TEST_CASE("a kill at any step leaves the old or the new checkpoint, and the next save works") {
  for (const bool exchange : {true, false})
    for (const bool has_old : {true, false})
      for (const PublishStep last :
           {PublishStep::written, PublishStep::set_aside, PublishStep::published, PublishStep::cleaned}) {
        if (last == PublishStep::set_aside && (exchange || !has_old)) continue;  // not a step of this way
        CAPTURE(exchange);
        CAPTURE(has_old);
        CAPTURE(static_cast<int>(last));
        const ScratchDirectory scratch;
        const std::string path = scratch / "model";
        if (has_old) save(path, "old");
        const int status = run_in_child([&] {
          AtomicDirectory target(path);
          fill(target.directory(), "new");
          target.publish(
              [&](PublishStep step) {
                if (step == last) _exit(77);
              },
              exchange);
        });
        CHECK(status == 77);
        const bool is_published = last == PublishStep::published || last == PublishStep::cleaned;
        if (has_old || is_published) {
          CHECK(load(path) == (is_published ? "new" : "old"));
        } else {
          CHECK_THROWS_AS(open_model(path), CheckpointError);
        }
        save(path, "newer", exchange);
        CHECK(load(path) == "newer");
        CHECK(list_names(scratch.path()) == std::set<std::string>{"model"});  // no leftovers
      }
}

TEST_CASE("leftovers of killed processes go, but nothing that is in use or not ours") {
  const ScratchDirectory scratch;
  const std::string path = scratch / "model";
  save(path, "first");
  fs::create_directory(scratch / "model.tmp-12345-0123abcd");
  write_text(scratch / "model.tmp-12345-0123abcd/model.safetensors", "half");
  save(scratch / "model.tmp-12345-0123abce", "replaced");  // killed before the old one was cleared away
  write_text(scratch / "model.tmp-12345-0123abce/.gitattributes", "*");
  save(scratch / "model.tmp-12345-0123abcf", "replaced");  // and somebody has put a file there
  write_text(scratch / "model.tmp-12345-0123abcf/thesis.tex", "mine");
  write_text(scratch / "model.sparsexmc-lock", "");
  fs::create_directory(scratch / "model.tmp-notes");
  write_text(scratch / "model.tmp-1-00000000", "a file");
  AtomicDirectory other(path);  // another save at the same time
  fill(other.directory(), "other");
  save(path, "second");
  const auto names = list_names(scratch.path());
  CHECK(names.size() == 5);
  CHECK(names.contains(fs::path(other.directory().path()).filename().string()));
  CHECK(read_text(path + "/.gitattributes") == "*");
  other.publish();
  CHECK(load(path) == "other");
  save(path, "third");  // the thesis stays, however often
  CHECK(read_text(scratch / "model.tmp-12345-0123abcf/thesis.tex") == "mine");
  CHECK(list_names(scratch.path()) ==
        std::set<std::string>{"model", "model.tmp-notes", "model.tmp-1-00000000", "model.tmp-12345-0123abcf"});
}

TEST_CASE("a save that fails leaves the old checkpoint and no temporary directory") {
  const ScratchDirectory scratch;
  const std::string path = scratch / "model";
  save(path, "old");
  CHECK_THROWS_AS(
      [&] {
        AtomicDirectory target(path);
        fill(target.directory(), "new");
        throw CheckpointError("something else went wrong");
      }(),
      CheckpointError);
  // A limit on the size of files fails as a full disk does: in the middle of a write.
  const int status = run_in_child([&] {
    signal(SIGXFSZ, SIG_IGN);
    const rlimit limit = {1 << 16, 1 << 16};
    setrlimit(RLIMIT_FSIZE, &limit);
    try {
      save(path, std::string(1 << 20, 'x'));
    } catch (const CheckpointError& error) {
      const std::string message = error.what();
      _exit(message.find("model.safetensors': File too large; free some space") != std::string::npos ? 7 : 8);
    }
  });
  CHECK(status == 7);
  CHECK(load(path) == "old");
  CHECK(list_names(scratch.path()) == std::set<std::string>{"model"});
}

TEST_CASE("what is not a checkpoint is never replaced") {
  const ScratchDirectory scratch;
  write_text(scratch / "file", "mine");
  CHECK(message_of(scratch / "file").find("is not a directory; remove it, or save to another path") !=
        std::string::npos);
  fs::create_directory(scratch / "folder");
  write_text(scratch / "folder/thesis.tex", "mine");
  CHECK(message_of(scratch / "folder").find("but no model of sparsexmc, so it is not replaced") != std::string::npos);
  write_text(scratch / "folder/config.json", R"({"format":"another"})");
  CHECK(message_of(scratch / "folder").find("but no model of sparsexmc, so it is not replaced") != std::string::npos);
  CHECK(message_of(scratch / "file/model").find("cannot ") == 0);
  CHECK(message_of("/proc/sparsexmc/model").find("cannot create the directory '/proc/sparsexmc'") == 0);
  CHECK(message_of(scratch / std::string(300, 'n')).find("File name too long; choose another path") !=
        std::string::npos);
  CHECK(message_of("").find("cannot be a checkpoint directory") != std::string::npos);
  CHECK(message_of("/").find("cannot be a checkpoint directory") != std::string::npos);
  CHECK(list_names(scratch.path()) == std::set<std::string>{"file", "folder"});
  CHECK(read_text(scratch / "folder/thesis.tex") == "mine");
}

TEST_CASE("opening something else than a checkpoint names the path and the reason") {
  const ScratchDirectory scratch;
  write_text(scratch / "file", "mine");
  CHECK_THROWS_WITH_AS(open_model(scratch / "file"), doctest::Contains("file': Not a directory; choose another path"),
                       CheckpointError);
  CHECK_THROWS_WITH_AS(open_model(scratch / "absent"),
                       doctest::Contains("absent': No such file or directory; check the path"), CheckpointError);
  CHECK_THROWS_WITH_AS(open_model(scratch.path()), doctest::Contains("holds no checkpoint"), CheckpointError);
  fs::create_directory(scratch / "config.json");
  CHECK_THROWS_WITH_AS(open_model(scratch.path()), doctest::Contains("not a regular file"), CheckpointError);
}

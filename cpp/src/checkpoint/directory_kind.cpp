#include "checkpoint/directory_kind.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <system_error>
#include <utility>

#include "checkpoint/manifest.h"
#include "sparsexmc/error.h"

namespace sparsexmc::checkpoint {
namespace {

namespace fs = std::filesystem;

constexpr int max_attempts = 100;  // to look at a place that other processes take again and again

void move_hidden_files(const Directory& from, const Directory& to) {
  for (const std::string& name : from.names())
    if (is_hidden(name) && !to.contains(name)) renameat(from.fd(), name.c_str(), to.fd(), name.c_str());
}

/// config.json goes last, and stays beside what is not ours: as long as it is there, it says what belongs to the model.
void remove_files(const Directory& directory, const std::set<std::string>& names) {
  bool holds_others = false;
  for (const std::string& name : directory.names()) {
    if (name == manifest_file) continue;
    if (!names.contains(name) || (unlinkat(directory.fd(), name.c_str(), 0) != 0 && errno != ENOENT))
      holds_others = true;  // but not where another process removes the same directory
  }
  if (!holds_others && names.contains(manifest_file)) unlinkat(directory.fd(), manifest_file, 0);
}

/// Whether a directory that was opened at a path is still there.
bool is_at(const Directory& directory, const std::string& path) {
  try {
    return directory.is_same(Directory(path));
  } catch (const CheckpointError&) {
    return false;
  }
}

void check_content(const Directory& existing, const DirectoryKind& kind) {
  const std::optional<std::set<std::string>> own = kind.find_files(existing);
  for (const std::string& name : existing.names()) {
    if (is_hidden(name) || (own && own->contains(name))) continue;
    if (!own)
      throw CheckpointError("'" + existing.path() + "' holds '" + name + "' but no " + kind.noun +
                            " of sparsexmc, so it is not replaced; empty it, or save to another path");
    throw CheckpointError("'" + existing.path() + "' holds '" + name + "', which is no part of the " + kind.noun +
                          " there, so it is not replaced; move that away, or save to another path");
  }
}

}  // namespace

DirectoryKind model_kind() { return {"model", find_model_files}; }

DirectoryKind kind_of_files(std::string noun, std::set<std::string> names) {
  return {std::move(noun), [names = std::move(names)](const Directory&) { return names; }};
}

std::string find_enclosing_model(const std::string& path) {
  for (fs::path inner(path); inner.has_relative_path(); inner = inner.parent_path()) {
    const fs::path outer = inner.parent_path();
    std::error_code error;
    if (is_hidden(inner.filename().string()) || !fs::exists(outer / manifest_file, error)) continue;
    try {
      if (find_model_files(Directory(outer.string()))) return outer.string();
    } catch (const CheckpointError&) {  // it cannot be read, so it is no model
    }
  }
  return "";
}

void check_outside_models(const std::string& path) {
  if (const std::string model = find_enclosing_model(path); !model.empty())
    throw CheckpointError("'" + path + "' lies in the model directory '" + model +
                          "', which could not be read with it; save to a path outside");
}

void check_replaceable(const std::string& path, const DirectoryKind& kind) {
  for (int attempt = 1;; ++attempt) {
    std::error_code error;
    const fs::file_status status = fs::symlink_status(path, error);
    if (status.type() == fs::file_type::not_found) return;
    if (error) throw_io_error("use", path, error.value());
    if (status.type() != fs::file_type::directory)
      throw CheckpointError("'" + path + "' is not a directory; remove it, or save to another path");
    std::optional<Directory> existing;
    try {
      existing.emplace(path);
      check_content(*existing, kind);
      return;
    } catch (const CheckpointError&) {
      // What another saver has moved away is being emptied; what is at the path now counts.
      if (attempt == max_attempts || (existing && is_at(*existing, path))) throw;
    }
  }
}

void remove_unpublished(const std::string& path) noexcept {
  try {
    const Directory directory(path, false);
    for (const std::string& name : directory.names()) unlinkat(directory.fd(), name.c_str(), 0);
  } catch (const std::exception&) {  // what cannot be listed cannot be removed either
  }
  rmdir(path.c_str());
}

void retire(const std::string& path, const DirectoryKind& kind, const Directory& successor) {
  std::error_code error;
  if (fs::symlink_status(path, error).type() != fs::file_type::directory) return;
  std::optional<Directory> opened;
  try {
    opened.emplace(path, false);
  } catch (const CheckpointError&) {
    if (fs::symlink_status(path, error).type() == fs::file_type::not_found) return;  // another saver was quicker
    throw;
  }
  const Directory& old = *opened;
  move_hidden_files(old, successor);
  if (const auto own = kind.find_files(old)) remove_files(old, *own);
  rmdir(path.c_str());
}

}  // namespace sparsexmc::checkpoint

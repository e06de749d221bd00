#include "checkpoint/open_model.h"

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <system_error>
#include <utility>

#include "checkpoint/temporary_directory.h"
#include "sparsexmc/error.h"

namespace sparsexmc::checkpoint {
namespace {

namespace fs = std::filesystem;

constexpr int max_attempts = 100;  // to open a directory that other processes replace again and again

/// Also where a save was killed while the old directory was set aside.
Directory find_directory(const std::string& path) {
  const std::string final_path = resolve(path);
  std::error_code error;
  const bool was_set_aside = !fs::exists(final_path, error) && fs::exists(aside_path(final_path), error);
  return Directory(was_set_aside ? aside_path(final_path) : final_path);
}

bool is_legacy(const std::string& name) { return std::ranges::find(legacy_files, name) != std::end(legacy_files); }

/// Opens all parts, and refuses files that are none.
OpenModel open_all(Directory directory) {
  if (!directory.contains(manifest_file))
    throw CheckpointError("'" + directory.path() + "' holds no checkpoint (it has no config.json); check the path");
  std::string text = read_manifest_text(directory);
  Manifest manifest = parse_manifest(text, directory.path() + "/" + manifest_file);
  for (const std::string& name : directory.names()) {
    if (is_hidden(name) || name == manifest_file || manifest.parts.contains(name)) continue;
    if (manifest.format_version > 1 || !is_legacy(name))
      throw CheckpointError("'" + directory.path() + "' holds '" + name +
                            "', which its config.json does not list; move that away, or copy the model again");
    manifest.parts[name] = {InputFile(directory, name).size(), ""};
  }
  std::map<std::string, InputFile> files;
  for (const auto& [name, record] : manifest.parts) {
    if (!directory.contains(name))
      throw CheckpointError("'" + directory.path() + "/" + name +
                            "' is missing, and config.json lists it; copy the whole directory again");
    files.emplace(name, InputFile(directory, name));
  }
  return {std::move(directory), std::move(text), std::move(manifest), std::move(files)};
}

/// Whether the path still leads to this directory.
bool is_in_place(const Directory& directory, const std::string& path) {
  try {
    return find_directory(path).is_same(directory);
  } catch (const CheckpointError&) {
    return false;
  }
}

/// A directory that is replaced loses its files one by one; then the one that replaced it is opened.
OpenModel open_whole(const std::string& path) {
  for (int attempt = 1;; ++attempt) {
    Directory directory = find_directory(path);
    const Directory same = directory.duplicate();
    try {
      return open_all(std::move(directory));
    } catch (const CheckpointError&) {
      if (attempt == max_attempts || is_in_place(same, path)) throw;
    }
  }
}

void verify(const InputFile& file, const PartRecord& expected) {
  if (file.size() != expected.bytes)
    throw CheckpointError("'" + file.path() + "' has " + std::to_string(file.size()) + " bytes, but config.json says " +
                          std::to_string(expected.bytes) + "; it is truncated or damaged: copy the checkpoint again");
  if (!expected.sha256.empty() && file.record().sha256 != expected.sha256)
    throw CheckpointError("'" + file.path() + "' does not match its hash in config.json; it was damaged or edited: " +
                          "copy the checkpoint again");
}

}  // namespace

const InputFile& OpenModel::file(const std::string& name) const {
  const auto found = files.find(name);
  if (found == files.end())
    throw CheckpointError("'" + directory.path() + "' has no part '" + name + "'; check what its config.json lists");
  return found->second;
}

OpenModel open_model(const std::string& path) {
  OpenModel model = open_whole(path);
  for (const auto& [name, record] : model.manifest.parts) verify(model.file(name), record);
  return model;
}

}  // namespace sparsexmc::checkpoint

// config.json: what a checkpoint is, where training stands, and size and hash of every other file.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "checkpoint/file.h"
#include "sparsexmc/classifier.h"

namespace sparsexmc::checkpoint {

// The files of a classifier. config.json, which makes the directory a model, is written and removed last.
inline constexpr const char* manifest_file = "config.json";
inline constexpr const char* model_file = "model.safetensors";
inline constexpr const char* optimizer_file = "optimizer.safetensors";
inline constexpr const char* labels_file = "labels.txt";
inline constexpr const char* card_file = "README.md";
inline constexpr const char* classifier_files[] = {model_file, optimizer_file, labels_file, card_file};

/// Files that the command line of version 0.1 put beside a checkpoint of format 1, which does not list them.
inline constexpr const char* legacy_files[] = {"run.toml", "features.npz", "vocabulary.json", "linear.npz",
                                               "neighbors.npz"};

/// May a part be called this? A plain file name in UTF-8, not hidden, and not config.json.
bool is_part_name(const std::string& name);

struct Manifest {
  std::string library_version;  ///< that wrote the checkpoint
  ClassifierConfig config;
  Progress progress;
  std::map<std::string, PartRecord> parts;  ///< all but config.json
  int64_t format_version = 2;
};

/// The text of config.json, with a hash of its own content.
std::string to_text(const Manifest& manifest);

/// @param origin path of the file, for the messages
/// @throws CheckpointError if it is foreign, newer than this library, incomplete or edited
Manifest parse_manifest(const std::string& text, const std::string& origin);

/// The text of a directory's config.json, not yet parsed.
std::string read_manifest_text(const Directory& directory);

/// The names that a directory may hold as the model it is, damaged or not: what its config.json lists, config.json
/// itself, and what a model of its format version has besides. Nothing if no config.json of this library is there.
std::optional<std::set<std::string>> find_model_files(const Directory& directory);

}  // namespace sparsexmc::checkpoint

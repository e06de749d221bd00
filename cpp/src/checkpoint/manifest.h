// config.json: what a checkpoint is, where training stands, and size and hash of every other file.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "checkpoint/file.h"
#include "sparsexmc/classifier.h"

namespace sparsexmc::checkpoint {

// The files of a checkpoint. Saving replaces these and no others; config.json, which makes it one, is written and
// removed last.
inline constexpr const char* manifest_file = "config.json";
inline constexpr const char* model_file = "model.safetensors";
inline constexpr const char* optimizer_file = "optimizer.safetensors";
inline constexpr const char* labels_file = "labels.txt";
inline constexpr const char* card_file = "README.md";
inline constexpr const char* all_files[] = {model_file, optimizer_file, labels_file, card_file, manifest_file};

bool is_checkpoint_file(const std::string& name);

struct Manifest {
  std::string library_version;  ///< that wrote the checkpoint
  ClassifierConfig config;
  Progress progress;
  std::map<std::string, FileRecord> files;  ///< all but config.json
};

/// The text of config.json, with a hash of its own content.
std::string to_text(const Manifest& manifest);

/// @param origin path of the file, for the messages
/// @throws CheckpointError if it is foreign, newer than this library, incomplete or edited
Manifest parse_manifest(const std::string& text, const std::string& origin);

/// The text of a directory's config.json, not yet parsed.
std::string read_manifest_text(const Directory& directory);

/// Is there a config.json of this library's format, of whatever version?
bool holds_checkpoint(const Directory& directory);

}  // namespace sparsexmc::checkpoint

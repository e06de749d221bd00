// A model directory that has been opened and verified: what ModelReader holds.
#pragma once

#include <map>
#include <string>

#include "checkpoint/file.h"
#include "checkpoint/manifest.h"

namespace sparsexmc::checkpoint {

struct OpenModel {
  Directory directory;
  std::string text;  ///< of config.json
  Manifest manifest;
  std::map<std::string, InputFile> files;  ///< by name, all parts

  /// @throws CheckpointError if the model has no such part
  const InputFile& file(const std::string& name) const;
};

/// @throws CheckpointError unless the directory holds exactly the parts that config.json lists, in size and hash, and
///         hidden files besides
OpenModel open_model(const std::string& path);

}  // namespace sparsexmc::checkpoint

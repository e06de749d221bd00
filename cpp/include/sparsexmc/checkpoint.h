// Reading parts of a checkpoint directory without building its classifier (see Classifier::save and Classifier::load).
#pragma once

#include <string>
#include <vector>

namespace sparsexmc {

/// Names by user label id; empty if the checkpoint was saved without.
/// @throws CheckpointError if there is no checkpoint, or its config.json or labels.txt was damaged or edited
std::vector<std::string> load_label_names(const std::string& path);

/// The text of config.json: format and library version, configuration, progress, size and hash of every file.
/// @throws CheckpointError if it is missing, foreign, newer than this library, damaged or edited
std::string read_checkpoint_info(const std::string& path);

}  // namespace sparsexmc

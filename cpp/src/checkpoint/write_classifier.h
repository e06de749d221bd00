// The classifier's own files of a model directory.
#pragma once

#include <string>
#include <vector>

#include "checkpoint/file.h"
#include "checkpoint/manifest.h"
#include "sparsexmc/classifier.h"

namespace sparsexmc::checkpoint {

/// Writes them and lists them in the manifest, whose configuration and progress become the classifier's.
/// @param label_names empty, or one per label  @param card empty: the default
/// @param for_prediction without the optimizer's state and batches kept for a rewiring
/// @throws ArgumentError before anything is written, CheckpointError
void write_classifier(const Directory& directory, const Classifier& classifier,
                      const std::vector<std::string>& label_names, const std::string& card, bool for_prediction,
                      Manifest& manifest);

}  // namespace sparsexmc::checkpoint

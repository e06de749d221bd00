// The model card: what a reader of README.md in a checkpoint wants to know first.
#pragma once

#include <cstdint>
#include <string>

#include "checkpoint/manifest.h"

namespace sparsexmc::checkpoint {

/// Markdown. Sections that only the author can fill say so.
/// @param parameters weights and biases
std::string default_card(const Manifest& manifest, int64_t parameters);

}  // namespace sparsexmc::checkpoint

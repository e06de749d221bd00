// Permissions of a directory that replaces another: who could not read the old one cannot read the new one either.
#pragma once

#include <string>

#include "checkpoint/file.h"

namespace sparsexmc::checkpoint {

/// Gives `directory`, which is being filled, the permissions of the directory at `path`, where there is one, and its
/// owner all of them.
void take_directory_mode(const std::string& path, const Directory& directory);

/// Gives `directory`, which is complete, the permissions of the directory at `path`, where there is one, and every file
/// those of the file of its name there.
void take_modes(const std::string& path, const Directory& directory);

}  // namespace sparsexmc::checkpoint

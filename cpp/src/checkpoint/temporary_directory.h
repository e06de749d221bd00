// Names beside the final place of a directory: while it is written, and while the old one is set aside.
#pragma once

#include <functional>
#include <string>

#include "checkpoint/directory_kind.h"
#include "checkpoint/file.h"

namespace sparsexmc::checkpoint {

/// Absolute and without links, so that a directory is replaced and not a link to it. @throws CheckpointError
std::string resolve(const std::string& path);

/// Where the old directory stands for a moment when names cannot be exchanged.
std::string aside_path(const std::string& final_path);

/// Puts back what a killed process set aside.
void recover(const std::string& final_path);

/// Makes `<final path>.tmp-<process>-<random number>` and missing parents, and locks it, so that no other process takes
/// it for a leftover. Removes what killed processes left of saving to this path: each may be as large as the model.
/// @param made called with the path of a new directory that is not locked yet; for tests
Directory make_temporary(const std::string& final_path, const DirectoryKind& kind,
                         const std::function<void(const std::string&)>& made = {});

}  // namespace sparsexmc::checkpoint

// Directories that may be replaced: those that we wrote, and nothing of anybody else's.
#pragma once

#include <functional>
#include <optional>
#include <set>
#include <string>

#include "checkpoint/file.h"

namespace sparsexmc::checkpoint {

/// A kind of directory that we write and replace.
struct DirectoryKind {
  std::string noun;
  /// The names that a directory may hold as one of this kind; nothing if it is not one.
  std::function<std::optional<std::set<std::string>>(const Directory&)> find_files;
};

/// Models: config.json says what belongs to them.
DirectoryKind model_kind();
/// Directories of some of these files.
DirectoryKind kind_of_files(std::string noun, std::set<std::string> names);

/// The model directory that `path`, absolute and without links, lies in; empty if there is none. What is hidden, or in
/// a hidden directory, may lie in a model.
std::string find_enclosing_model(const std::string& path);
/// @throws CheckpointError if `path` lies in a model directory: an unlisted file makes a model unreadable
void check_outside_models(const std::string& path);

/// @throws CheckpointError unless there is nothing at `path`, or a directory of this kind, which may hold hidden files
///         besides but no others
void check_replaceable(const std::string& path, const DirectoryKind& kind);

/// Removes the files of a directory that was never published: everything in it is ours.
void remove_unpublished(const std::string& path) noexcept;

/// Clears away a directory that `successor` has replaced. Hidden files move there, unless their names are taken. Files
/// that somebody put there since it was checked stay, and the directory with them.
void retire(const std::string& path, const DirectoryKind& kind, const Directory& successor);

}  // namespace sparsexmc::checkpoint

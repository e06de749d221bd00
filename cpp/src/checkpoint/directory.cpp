#include "checkpoint/directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#if defined(__linux__)
#include <linux/fs.h>
#include <sys/syscall.h>
#endif

#include <array>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <random>
#include <system_error>
#include <vector>

#include "checkpoint/manifest.h"
#include "sparsexmc/error.h"

namespace sparsexmc::checkpoint {
namespace {

namespace fs = std::filesystem;

/// Absolute and without links, so that the directory is replaced and not a link to it.
std::string resolve(const std::string& path) {
  std::error_code error;
  const fs::path absolute = path.empty() ? fs::path() : fs::absolute(path, error);
  fs::path resolved = error ? absolute : fs::weakly_canonical(absolute, error);
  if (error) throw_io_error("use", path, error.value());
  if (!resolved.has_filename()) resolved = resolved.parent_path();  // after a trailing slash
  if (!resolved.has_filename())
    throw CheckpointError("'" + path + "' cannot be a checkpoint directory; give it a name below some directory");
  return resolved.string();
}

/// Where the old checkpoint stands for a moment when names cannot be exchanged.
std::string aside_path(const std::string& final_path) { return final_path + ".sparsexmc-old"; }

void check_replaceable(const std::string& path) {
  std::error_code error;
  const fs::file_status status = fs::symlink_status(path, error);
  if (status.type() == fs::file_type::not_found) return;
  if (error) throw_io_error("use", path, error.value());
  if (status.type() != fs::file_type::directory)
    throw CheckpointError("'" + path + "' is not a directory; remove it, or save to another path");
  const Directory existing(path);
  const bool is_empty = fs::is_empty(path, error);
  if (error) throw_io_error("list", path, error.value());
  if (!is_empty && !holds_checkpoint(existing))
    throw CheckpointError("'" + path + "' holds files but no checkpoint (no config.json of sparsexmc), so it is not " +
                          "replaced; empty it, or save to another path");
}

/// Removes the files of a checkpoint and then the directory, unless others remain in it.
void remove_checkpoint(const std::string& path) noexcept {
  const int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  const FileDescriptor directory(fd);
  for (const char* name : all_files) unlinkat(directory.get(), name, 0);
  rmdir(path.c_str());
}

/// A temporary directory is called this, then the process id, a hyphen and a number of 8 hexadecimal digits.
std::string temporary_prefix(const std::string& final_path) { return final_path + ".tmp-"; }

bool is_temporary(const std::string& path, const std::string& prefix) {
  if (!path.starts_with(prefix)) return false;
  const size_t hyphen = path.find_first_not_of("0123456789", prefix.size());
  return hyphen != std::string::npos && hyphen > prefix.size() && path[hyphen] == '-' && path.size() == hyphen + 9 &&
         path.find_first_not_of("0123456789abcdef", hyphen + 1) == std::string::npos;
}

/// A process holds this lock on its temporary directory as long as it lives.
bool lock(const Directory& directory) { return flock(directory.fd(), LOCK_EX | LOCK_NB) == 0; }

/// Moves files that are not of a checkpoint to another directory. What exists there already stays where it is.
void move_other_files(const Directory& from, const Directory& to) {
  std::vector<std::string> others;
  std::error_code error;
  for (fs::directory_iterator entry(from.path(), error), end; !error && entry != end; entry.increment(error))
    if (!is_checkpoint_file(entry->path().filename())) others.push_back(entry->path().filename());
  for (const std::string& name : others)
    if (!to.contains(name)) renameat(from.fd(), name.c_str(), to.fd(), name.c_str());
}

/// Removes what killed processes left of their saves to this path: each may be as large as the model.
void remove_leftovers(const std::string& final_path) {
  const std::string prefix = temporary_prefix(final_path);
  std::vector<std::string> leftovers;
  std::error_code error;
  fs::directory_iterator entry(fs::path(final_path).parent_path(), error);
  for (const fs::directory_iterator end; !error && entry != end; entry.increment(error)) {
    const std::string path = entry->path().string();
    if (is_temporary(path, prefix)) leftovers.push_back(path);
  }
  for (const std::string& path : leftovers) {
    if (fs::symlink_status(path, error).type() != fs::file_type::directory) continue;
    const Directory leftover(path);
    if (!lock(leftover)) continue;
    if (fs::is_directory(final_path, error)) move_other_files(leftover, Directory(final_path));
    remove_checkpoint(path);
  }
}

/// Makes a directory that no other process takes for a leftover.
Directory make_temporary(const std::string& final_path) {
  std::error_code error;
  fs::create_directories(fs::path(final_path).parent_path(), error);
  if (error) throw_io_error("create the directory", fs::path(final_path).parent_path().string(), error.value());
  remove_leftovers(final_path);
  std::random_device random;
  while (true) {
    std::array<char, 16> number;
    std::snprintf(number.data(), number.size(), "%08x", random());
    const std::string path = temporary_prefix(final_path) + std::to_string(getpid()) + "-" + number.data();
    if (mkdir(path.c_str(), 0777) != 0) {
      if (errno == EEXIST) continue;
      throw_io_error("create the directory", path, errno);
    }
    try {
      Directory directory(path);
      lock(directory);  // where the file system has no locks, nobody else gets one either
      return directory;
    } catch (const CheckpointError&) {
      rmdir(path.c_str());
      throw;
    }
  }
}

/// @return 0, or the error number. Called by number: the wrapper is newer than the C library that a wheel may meet.
int exchange_names([[maybe_unused]] const std::string& a, [[maybe_unused]] const std::string& b) {
#if defined(SYS_renameat2) && defined(RENAME_EXCHANGE)
  return syscall(SYS_renameat2, AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), RENAME_EXCHANGE) == 0 ? 0 : errno;
#else
  return ENOSYS;
#endif
}

/// Clears a replaced checkpoint away. Files that somebody else put there are moved, never deleted; where that fails
/// they stay, and the old directory with them.
void retire(const std::string& path, const Directory& successor) {
  std::error_code error;
  if (!fs::is_directory(path, error)) return;
  const Directory old(path);
  if (!holds_checkpoint(old)) return;
  move_other_files(old, successor);
  remove_checkpoint(path);
}

void report(const std::function<void(PublishStep)>& reached, PublishStep step) {
  if (reached) reached(step);
}

}  // namespace

Directory open_checkpoint(const std::string& path) {
  const std::string final_path = resolve(path);
  std::error_code error;
  const bool was_set_aside = !fs::exists(final_path, error) && fs::exists(aside_path(final_path), error);
  Directory directory(was_set_aside ? aside_path(final_path) : final_path);
  if (!directory.contains(manifest_file))
    throw CheckpointError("'" + directory.path() + "' holds no checkpoint (it has no config.json); check the path");
  return directory;
}

AtomicDirectory::AtomicDirectory(const std::string& path)
    : final_(resolve(path)),
      aside_(aside_path(final_)),
      temporary_((check_replaceable(final_), make_temporary(final_))) {}

AtomicDirectory::~AtomicDirectory() {
  if (!published_) remove_checkpoint(temporary_.path());
}

void AtomicDirectory::publish(const std::function<void(PublishStep)>& reached, bool exchange) {
  temporary_.sync();
  report(reached, PublishStep::written);
  const Directory parent(fs::path(final_).parent_path().string());
  // Renaming takes the place of nothing, or of an empty directory; a checkpoint there has to change places.
  if (rename(temporary_.path().c_str(), final_.c_str()) != 0) {
    if (errno != ENOTEMPTY && errno != EEXIST) throw_io_error("replace", final_, errno);
    const int error = exchange ? exchange_names(temporary_.path(), final_) : ENOSYS;
    if (error == EINVAL || error == ENOSYS || error == ENOTSUP) {
      swap_in_two_renames(reached);
    } else if (error != 0) {
      throw_io_error("replace", final_, error);
    }
  }
  published_ = true;
  parent.sync();
  report(reached, PublishStep::published);
  retire(temporary_.path(), temporary_);  // after an exchange the old one has this name
  retire(aside_, temporary_);             // also one that a killed process left
  report(reached, PublishStep::cleaned);
}

void AtomicDirectory::swap_in_two_renames(const std::function<void(PublishStep)>& reached) {
  retire(aside_, temporary_);
  if (rename(final_.c_str(), aside_.c_str()) != 0) throw_io_error("set aside", final_, errno);
  report(reached, PublishStep::set_aside);
  if (rename(temporary_.path().c_str(), final_.c_str()) == 0) return;
  const int error = errno;
  rename(aside_.c_str(), final_.c_str());
  throw_io_error("replace", final_, error);
}

}  // namespace sparsexmc::checkpoint

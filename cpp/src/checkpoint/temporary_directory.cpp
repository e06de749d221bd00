#include "checkpoint/temporary_directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <random>
#include <system_error>
#include <utility>

#include "sparsexmc/error.h"

namespace sparsexmc::checkpoint {
namespace {

namespace fs = std::filesystem;

constexpr int max_attempts = 100;  // to look at a place that other processes take again and again

/// A temporary directory is called this, then the process id, a hyphen and a number of 8 hexadecimal digits.
std::string temporary_prefix(const std::string& final_path) { return final_path + ".tmp-"; }

/// The file that a training locks, see ModelLock in Python.
std::string lock_path(const std::string& final_path) { return final_path + ".sparsexmc-lock"; }

bool is_temporary(const std::string& path, const std::string& prefix) {
  if (!path.starts_with(prefix)) return false;
  const size_t hyphen = path.find_first_not_of("0123456789", prefix.size());
  return hyphen != std::string::npos && hyphen > prefix.size() && path[hyphen] == '-' && path.size() == hyphen + 9 &&
         path.find_first_not_of("0123456789abcdef", hyphen + 1) == std::string::npos;
}

/// A process holds this lock on its temporary directory as long as it lives.
bool lock(int fd) { return flock(fd, LOCK_EX | LOCK_NB) == 0; }

/// Opens a directory that was just made, and locks it. Nothing if another process has taken it for a leftover in
/// between: it holds the lock until it has removed the directory, and so is waited for.
std::optional<Directory> open_and_lock(const std::string& path) {
  std::error_code error;
  try {
    Directory directory(path, false);
    int status = 0;
    do {
      status = flock(directory.fd(), LOCK_EX);
    } while (status != 0 && errno == EINTR);
    // Where the file system has no locks, nobody else gets one either.
    if (directory.is_same(Directory(path, false))) return directory;
  } catch (const CheckpointError&) {
    if (fs::symlink_status(path, error).type() != fs::file_type::not_found) {
      rmdir(path.c_str());
      throw;
    }
  }
  return std::nullopt;
}

/// After an exchange and before the end it is the old directory; else it was never published, and all of it is ours.
void remove_leftover(const std::string& path, const std::string& final_path, const DirectoryKind& kind) {
  const Directory leftover(path, false);
  if (!lock(leftover.fd())) return;
  if (!kind.find_files(leftover)) return remove_unpublished(path);
  std::error_code error;
  retire(path, kind, fs::is_directory(final_path, error) ? Directory(final_path) : Directory(path));
}

void remove_leftovers(const std::string& final_path, const DirectoryKind& kind) {
  const std::string prefix = temporary_prefix(final_path);
  const fs::path parent = fs::path(final_path).parent_path();
  for (const std::string& name : Directory(parent).names()) {
    const std::string path = (parent / name).string();
    std::error_code error;
    if (!is_temporary(path, prefix) || fs::symlink_status(path, error).type() != fs::file_type::directory) continue;
    try {
      remove_leftover(path, final_path, kind);
    } catch (const CheckpointError&) {  // another process was faster, or it is not ours to remove
    }
  }
  // A training that was killed leaves its lock file, which nobody holds then.
  const FileDescriptor file(open(lock_path(final_path).c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK));
  if (file.get() >= 0 && lock(file.get())) unlink(lock_path(final_path).c_str());
}

}  // namespace

std::string resolve(const std::string& path) {
  std::error_code error;
  const fs::path absolute = path.empty() ? fs::path() : fs::absolute(path, error);
  fs::path resolved = absolute;
  for (int attempt = 0; !error && attempt < max_attempts; ++attempt) {
    resolved = fs::weakly_canonical(absolute, error);
    if (error != std::errc::no_such_file_or_directory) break;
    error.clear();  // another saver has moved the directory away while its name was being resolved
  }
  if (error) throw_io_error("use", path, error.value());
  if (!resolved.has_filename()) resolved = resolved.parent_path();  // after a trailing slash
  if (!resolved.has_filename())
    throw CheckpointError("'" + path + "' cannot be a checkpoint directory; give it a name below some directory");
  return resolved.string();
}

std::string aside_path(const std::string& final_path) { return final_path + ".sparsexmc-old"; }

void recover(const std::string& final_path) {
  std::error_code error;
  if (fs::symlink_status(final_path, error).type() != fs::file_type::not_found) return;
  if (fs::symlink_status(aside_path(final_path), error).type() != fs::file_type::directory) return;
  rename(aside_path(final_path).c_str(), final_path.c_str());
}

Directory make_temporary(const std::string& final_path, const DirectoryKind& kind,
                         const std::function<void(const std::string&)>& made) {
  std::error_code error;
  const fs::path parent = fs::path(final_path).parent_path();
  fs::create_directories(parent, error);
  if (error) throw_io_error("create the directory", parent.string(), error.value());
  remove_leftovers(final_path, kind);
  std::random_device random;
  while (true) {
    std::array<char, 16> number;
    std::snprintf(number.data(), number.size(), "%08x", random());
    const std::string path = temporary_prefix(final_path) + std::to_string(getpid()) + "-" + number.data();
    if (mkdir(path.c_str(), 0777) != 0) {
      if (errno == EEXIST) continue;
      throw_io_error("create the directory", path, errno);
    }
    if (made) made(path);
    if (std::optional<Directory> directory = open_and_lock(path)) return *std::move(directory);
  }
}

}  // namespace sparsexmc::checkpoint

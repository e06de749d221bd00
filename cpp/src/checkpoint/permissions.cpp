#include "checkpoint/permissions.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <optional>

namespace sparsexmc::checkpoint {
namespace {

constexpr mode_t mode_bits = 07777;

std::optional<mode_t> mode_at(int directory, const std::string& path, mode_t type) {
  struct stat status;
  if (fstatat(directory, path.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) return std::nullopt;
  if ((status.st_mode & S_IFMT) != type) return std::nullopt;
  return status.st_mode & mode_bits;
}

}  // namespace

// What a file system without permissions refuses is nothing to lose: results of fchmod are not looked at.

void take_directory_mode(const std::string& path, const Directory& directory) {
  if (const auto mode = mode_at(AT_FDCWD, path, S_IFDIR)) static_cast<void>(fchmod(directory.fd(), *mode | S_IRWXU));
}

void take_modes(const std::string& path, const Directory& directory) {
  const std::optional<mode_t> own = mode_at(AT_FDCWD, path, S_IFDIR);
  if (!own) return;
  for (const std::string& name : directory.names())
    if (const auto mode = mode_at(AT_FDCWD, path + "/" + name, S_IFREG))
      static_cast<void>(fchmodat(directory.fd(), name.c_str(), *mode, 0));
  static_cast<void>(fchmod(directory.fd(), *own));
}

}  // namespace sparsexmc::checkpoint

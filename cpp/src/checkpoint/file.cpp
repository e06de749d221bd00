#include "checkpoint/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <system_error>
#include <utility>

#include "sparsexmc/error.h"

namespace sparsexmc::checkpoint {
namespace {

constexpr size_t chunk = size_t{1} << 20;  // bytes hashed, then written, while they are in the cache

const char* remedy(int error) {
  switch (error) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return "free some space there, or choose a path on another disk";
    case EACCES:
    case EPERM:
    case EROFS:
      return "check the permissions, or choose another path";
    case ENOENT:
      return "check the path";
    case EEXIST:
    case ENOTDIR:
    case EISDIR:
    case ENOTEMPTY:
    case ENAMETOOLONG:
      return "choose another path";
    default:
      return "check the disk, or choose another path";
  }
}

int open_retrying(int directory, const std::string& path, int flags) {
  int fd = -1;
  do {
    fd = openat(directory, path.c_str(), flags | O_CLOEXEC, 0666);
  } while (fd < 0 && errno == EINTR);
  return fd;
}

/// Some file systems cannot synchronise a directory and say so with EINVAL or ENOTSUP; there is nothing to wait for
/// then.
void sync_descriptor(int fd, const std::string& path, bool is_directory) {
  int status = 0;
  do {
    status = fsync(fd);
  } while (status != 0 && errno == EINTR);
  if (status != 0 && !(is_directory && (errno == EINVAL || errno == ENOTSUP))) throw_io_error("write", path, errno);
}

}  // namespace

void throw_io_error(const std::string& action, const std::string& path, int error) {
  throw CheckpointError("cannot " + action + " '" + path + "': " + std::generic_category().message(error) + "; " +
                        remedy(error));
}

FileDescriptor& FileDescriptor::operator=(FileDescriptor&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

FileDescriptor::~FileDescriptor() {
  if (fd_ >= 0) close(fd_);
}

int FileDescriptor::release() { return std::exchange(fd_, -1); }

Directory::Directory(const std::string& path)
    : path_(path), fd_(open_retrying(AT_FDCWD, path, O_RDONLY | O_DIRECTORY)) {
  if (fd_.get() < 0) throw_io_error("open the directory", path, errno);
}

bool Directory::contains(const std::string& name) const {
  return faccessat(fd(), name.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

void Directory::sync() const {
  if (durable_) sync_descriptor(fd(), path_, true);
}

OutputFile::OutputFile(const Directory& directory, const std::string& name)
    : path_(directory.path() + "/" + name),
      fd_(open_retrying(directory.fd(), name, O_WRONLY | O_CREAT | O_EXCL)),
      durable_(directory.durable()) {
  if (fd_.get() < 0) throw_io_error("create", path_, errno);
}

void OutputFile::write(const void* data, size_t bytes) {
  const auto* next = static_cast<const char*>(data);
  while (bytes > 0) {
    const size_t wanted = std::min(bytes, chunk);
    hash_.update(next, wanted);
    for (size_t written = 0; written < wanted;) {
      const ssize_t n = ::write(fd_.get(), next + written, wanted - written);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) throw_io_error("write", path_, errno);
      written += static_cast<size_t>(n);
    }
    next += wanted;
    bytes -= wanted;
    bytes_ += wanted;
  }
}

FileRecord OutputFile::finish() {
  if (durable_) sync_descriptor(fd_.get(), path_, false);
  // Network file systems may report a failed write only here. The descriptor is gone either way.
  if (close(fd_.release()) != 0 && errno != EINTR) throw_io_error("write", path_, errno);
  return {bytes_, hash_.hex_digest()};
}

void sync_file(const Directory& directory, const std::string& name) {
  const FileDescriptor file(open_retrying(directory.fd(), name, O_RDONLY));
  const std::string path = directory.path() + "/" + name;
  if (file.get() < 0) throw_io_error("open", path, errno);
  sync_descriptor(file.get(), path, false);
}

// O_NONBLOCK: opening a pipe must not wait for its writer.
InputFile::InputFile(const Directory& directory, const std::string& name)
    : path_(directory.path() + "/" + name), fd_(open_retrying(directory.fd(), name, O_RDONLY | O_NONBLOCK)) {
  if (fd_.get() < 0) throw_io_error("open", path_, errno);
  struct stat status;
  if (fstat(fd_.get(), &status) != 0) throw_io_error("open", path_, errno);
  if (!S_ISREG(status.st_mode))
    throw CheckpointError("'" + path_ + "' is not a regular file; copy the checkpoint again");
  size_ = static_cast<uint64_t>(status.st_size);
}

void InputFile::read(uint64_t offset, void* out, size_t bytes) const {
  auto* next = static_cast<char*>(out);
  while (bytes > 0) {
    const ssize_t n = pread(fd_.get(), next, bytes, static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw_io_error("read", path_, errno);
    if (n == 0) throw CheckpointError("'" + path_ + "' ends early; it is truncated: copy the checkpoint again");
    next += n;
    offset += static_cast<uint64_t>(n);
    bytes -= static_cast<size_t>(n);
  }
}

FileRecord InputFile::record() const {
  const auto buffer = std::make_unique_for_overwrite<char[]>(chunk);
  Sha256 hash;
  for (uint64_t offset = 0; offset < size_;) {
    const size_t bytes = static_cast<size_t>(std::min<uint64_t>(chunk, size_ - offset));
    read(offset, buffer.get(), bytes);
    hash.update(buffer.get(), bytes);
    offset += bytes;
  }
  return {size_, hash.hex_digest()};
}

std::string InputFile::text(uint64_t limit) const {
  if (size_ > limit)
    throw CheckpointError("'" + path_ + "' has " + std::to_string(size_) + " bytes, more than the " +
                          std::to_string(limit) + " such a file may have; it is damaged or foreign");
  std::string content(static_cast<size_t>(size_), '\0');
  read(0, content.data(), content.size());
  return content;
}

}  // namespace sparsexmc::checkpoint

#include "checkpoint/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <future>
#include <memory>
#include <new>
#include <system_error>
#include <utility>

#include "sparsexmc/error.h"
#include "sparsexmc/interrupt.h"

namespace sparsexmc::checkpoint {
namespace {

constexpr size_t chunk = size_t{4} << 20;  // bytes hashed and written at a time
constexpr size_t page = 4096;              // what direct writes are aligned to

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

/// Direct writes do not go through the page cache: large files need not push everything else out of it, and get new
/// memory from it more slowly than many disks write. @return did the file system agree?
bool set_direct([[maybe_unused]] int fd, [[maybe_unused]] bool direct) {
#if defined(O_DIRECT)
  const int flags = fcntl(fd, F_GETFL);
  return flags >= 0 && fcntl(fd, F_SETFL, direct ? flags | O_DIRECT : flags & ~O_DIRECT) == 0;
#else
  return false;
#endif
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

Directory::Directory(const std::string& path, bool follow_links)
    : path_(path), fd_(open_retrying(AT_FDCWD, path, O_RDONLY | O_DIRECTORY | (follow_links ? 0 : O_NOFOLLOW))) {
  if (fd_.get() < 0) throw_io_error("open the directory", path, errno);
}

Directory Directory::duplicate() const {
  FileDescriptor copy(fcntl(fd(), F_DUPFD_CLOEXEC, 0));
  if (copy.get() < 0) throw_io_error("open the directory", path_, errno);
  return Directory(path_, std::move(copy));
}

bool Directory::contains(const std::string& name) const {
  return faccessat(fd(), name.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

std::vector<std::string> Directory::names() const {
  const int fd = open_retrying(this->fd(), ".", O_RDONLY | O_DIRECTORY);  // a descriptor whose position is its own
  DIR* stream = fd < 0 ? nullptr : fdopendir(fd);
  if (stream == nullptr) {
    const int error = errno;
    if (fd >= 0) close(fd);
    throw_io_error("list", path_, error);
  }
  const std::unique_ptr<DIR, int (*)(DIR*)> owner(stream, closedir);
  std::vector<std::string> names;
  while (true) {
    errno = 0;
    const dirent* entry = readdir(stream);
    if (entry == nullptr) break;
    if (const std::string name = entry->d_name; name != "." && name != "..") names.push_back(name);
  }
  if (errno != 0) throw_io_error("list", path_, errno);
  std::ranges::sort(names);
  return names;
}

bool Directory::is_same(const Directory& other) const {
  struct stat a, b;
  return fstat(fd(), &a) == 0 && fstat(other.fd(), &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

void Directory::sync() const { sync_descriptor(fd(), path_, true); }

void OutputFile::Free::operator()(std::byte* memory) const { std::free(memory); }

OutputFile::OutputFile(const Directory& directory, const std::string& name)
    : path_(directory.path() + "/" + name),
      fd_(open_retrying(directory.fd(), name, O_WRONLY | O_CREAT | O_EXCL)),
      buffer_(static_cast<std::byte*>(std::aligned_alloc(page, chunk))) {
  if (fd_.get() < 0) throw_io_error("create", path_, errno);
  if (buffer_ == nullptr) throw std::bad_alloc();
}

void OutputFile::write(const void* data, size_t bytes) {
  const auto* next = static_cast<const std::byte*>(data);
  while (bytes > 0) {
    const size_t taken = std::min(bytes, chunk - filled_);
    std::memcpy(buffer_.get() + filled_, next, taken);
    filled_ += taken;
    bytes_ += taken;
    next += taken;
    bytes -= taken;
    if (filled_ == chunk) flush();
  }
}

void OutputFile::flush() {
  InterruptScope::check();
  std::future<void> hashed;  // waited for wherever this ends
  if (filled_ == chunk)
    hashed = std::async(std::launch::async, [this] { hash_.update(buffer_.get(), chunk); });
  else
    hash_.update(buffer_.get(), filled_);
  if (bytes_ == chunk) direct_ = set_direct(fd_.get(), true);
  for (size_t written = 0; written < filled_;) {
    const ssize_t n = ::write(fd_.get(), buffer_.get() + written, filled_ - written);
    if (n >= 0) {
      written += static_cast<size_t>(n);
      if (written % page == 0) continue;  // else the rest is not aligned for a direct write
    } else if (errno == EINTR) {
      continue;
    } else if (!(direct_ && errno == EINVAL)) {
      throw_io_error("write", path_, errno);
    }
    if (direct_) direct_ = !set_direct(fd_.get(), false);
  }
  if (hashed.valid()) hashed.get();
  filled_ = 0;
}

PartRecord OutputFile::finish() {
  if (direct_) direct_ = !set_direct(fd_.get(), false);  // the last bytes fill no page
  flush();
  sync_descriptor(fd_.get(), path_, false);
  // Network file systems may report a failed write only here. The descriptor is gone either way.
  if (close(fd_.release()) != 0 && errno != EINTR) throw_io_error("write", path_, errno);
  return {bytes_, hash_.hex_digest()};
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

PartRecord InputFile::record() const {
  const auto buffer = std::make_unique_for_overwrite<char[]>(chunk);
  Sha256 hash;
  for (uint64_t offset = 0; offset < size_;) {
    InterruptScope::check();
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

void InputFile::sync() const { sync_descriptor(fd_.get(), path_, false); }

}  // namespace sparsexmc::checkpoint

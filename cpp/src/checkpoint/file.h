// Files of a checkpoint: written once and hashed on the way, or read at any offset. Every failure of the operating
// system becomes a CheckpointError that names the path, the reason and the remedy.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/sha256.h"
#include "sparsexmc/checkpoint.h"

namespace sparsexmc::checkpoint {

/// @param action e.g. "write"; the message reads "cannot <action> '<path>': <reason>; <remedy>"
[[noreturn]] void throw_io_error(const std::string& action, const std::string& path, int error);

/// Owns a file descriptor.
class FileDescriptor {
 public:
  FileDescriptor() = default;
  explicit FileDescriptor(int fd) : fd_(fd) {}
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(other.release()) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept;
  ~FileDescriptor();

  int get() const { return fd_; }
  int release();

 private:
  int fd_ = -1;
};

/// An open directory. Its files stay reachable through it when the directory is renamed meanwhile.
class Directory {
 public:
  /// @param follow_links false: refuses a symbolic link at `path`
  explicit Directory(const std::string& path, bool follow_links = true);

  const std::string& path() const { return path_; }
  int fd() const { return fd_.get(); }
  Directory duplicate() const;
  bool contains(const std::string& name) const;
  /// Names in it, without "." and "..", in ascending order.
  std::vector<std::string> names() const;
  /// Whether both are the same directory, whatever names it has had.
  bool is_same(const Directory& other) const;
  /// Waits until the names in it are on the disk.
  void sync() const;

 private:
  Directory(std::string path, FileDescriptor fd) : path_(std::move(path)), fd_(std::move(fd)) {}

  std::string path_;
  FileDescriptor fd_;
};

/// Names that begin with a dot belong to the user or to tools such as git, never to what we write.
inline bool is_hidden(const std::string& name) { return name.starts_with('.'); }

/// A new file: nothing may have its name yet, not even a link.
class OutputFile {
 public:
  OutputFile(const Directory& directory, const std::string& name);

  const std::string& path() const { return path_; }
  /// Goes through a buffer: what the disk refuses comes up here or in finish().
  void write(const void* data, size_t bytes);
  void write(const std::string& text) { write(text.data(), text.size()); }
  /// Waits until the content is on the disk, then closes.
  PartRecord finish();

 private:
  struct Free {
    void operator()(std::byte* memory) const;
  };

  /// Hashes the buffer and writes it out.
  void flush();

  std::string path_;
  FileDescriptor fd_;
  Sha256 hash_;
  std::unique_ptr<std::byte[], Free> buffer_;
  size_t filled_ = 0;
  uint64_t bytes_ = 0;   // in the file and the buffer
  bool direct_ = false;  // past the page cache
};

/// An existing regular file, or a link to one.
class InputFile {
 public:
  InputFile(const Directory& directory, const std::string& name);

  const std::string& path() const { return path_; }
  /// Bytes when it was opened.
  uint64_t size() const { return size_; }
  /// @throws CheckpointError also where the file ends before offset + bytes
  void read(uint64_t offset, void* out, size_t bytes) const;
  /// Reads the whole file.
  PartRecord record() const;
  /// @throws CheckpointError if the file is longer than `limit`
  std::string text(uint64_t limit) const;
  /// Waits until the content is on the disk.
  void sync() const;

 private:
  std::string path_;
  FileDescriptor fd_;
  uint64_t size_ = 0;
};

}  // namespace sparsexmc::checkpoint

// Lines of a text file, read in large blocks.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <vector>

#include "sparsexmc/error.h"
#include "sparsexmc/interrupt.h"

namespace sparsexmc {

/// Memory is one block, or twice the longest line if that is more, and no block is longer than the file.
class LineReader {
 public:
  /// @throws ArgumentError if the file cannot be opened, or is not a regular one
  explicit LineReader(std::string path) : path_(std::move(path)) {
    // O_NONBLOCK: opening a pipe must not wait for its writer.
    const int descriptor = open(path_.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (descriptor < 0) fail_to_read();
    struct stat status;
    const bool is_regular = fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode);
    file_.reset(fdopen(descriptor, "rb"));
    if (file_ == nullptr) {
      close(descriptor);
      throw std::bad_alloc();
    }
    if (!is_regular)
      throw ArgumentError("path: '" + path_ +
                          "' is a directory, pipe or device, where a regular file is needed; copy it to one");
    file_bytes_ = static_cast<int64_t>(status.st_size);
    block_.resize(static_cast<size_t>(std::clamp<int64_t>(file_bytes_ + 1, 4096, block_bytes)));
    std::setvbuf(file_.get(), nullptr, _IONBF, 0);  // the block above is the buffer
  }
  LineReader(const LineReader&) = delete;
  LineReader& operator=(const LineReader&) = delete;

  /// The next line without its ending (LF or CR LF); false at the end of the file. The view lives until the next call.
  bool next(std::string_view& line) {
    size_t scanned = begin_;
    const char* newline = nullptr;
    while (true) {
      newline = static_cast<const char*>(std::memchr(block_.data() + scanned, '\n', end_ - scanned));
      if (newline != nullptr || at_end_) break;
      scanned = end_ - begin_;  // where the unscanned part will lie after refill()
      refill();
    }
    if (newline == nullptr && begin_ == end_) return false;
    const size_t stop = newline != nullptr ? static_cast<size_t>(newline - block_.data()) : end_;
    line = std::string_view(block_.data() + begin_, stop - begin_);
    if (line.ends_with('\r')) line.remove_suffix(1);
    consumed_ += static_cast<int64_t>(stop - begin_) + 1;
    begin_ = newline != nullptr ? stop + 1 : end_;
    ++number_;
    return true;
  }

  /// Size of the file when it was opened; some, such as those in /proc, say 0.
  int64_t file_bytes() const { return file_bytes_; }
  /// Bytes of the lines handed out so far.
  int64_t consumed_bytes() const { return consumed_; }

  /// Complains about the line handed out last, or the first where there is none.
  [[noreturn]] void fail(const std::string& what) const { throw DataError(path_, std::max(number_, int64_t{1}), what); }

 private:
  static constexpr int64_t block_bytes = int64_t{2} << 20;

  [[noreturn]] void fail_to_read() const {
    throw ArgumentError("path: cannot read '" + path_ + "': " + std::strerror(errno));
  }

  void refill() {
    InterruptScope::check();
    std::memmove(block_.data(), block_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
    if (end_ == block_.size()) block_.resize(2 * block_.size());
    const size_t got = std::fread(block_.data() + end_, 1, block_.size() - end_, file_.get());
    if (got == 0 && std::ferror(file_.get())) fail_to_read();
    at_end_ = got == 0;
    end_ += got;
  }

  std::string path_;
  std::vector<char> block_;
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file_{nullptr, std::fclose};
  int64_t file_bytes_ = 0;
  int64_t consumed_ = 0;
  int64_t number_ = 0;
  size_t begin_ = 0, end_ = 0;  // the unread part of block_
  bool at_end_ = false;
};

}  // namespace sparsexmc

// Lines of a text file, read in large blocks.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "sparsexmc/error.h"
#include "sparsexmc/interrupt.h"

namespace sparsexmc {

/// Memory is one block, or twice the longest line if that is more.
class LineReader {
 public:
  /// @throws ArgumentError if the file cannot be opened
  explicit LineReader(std::string path) : path_(std::move(path)), file_(std::fopen(path_.c_str(), "rb")) {
    if (file_ == nullptr) fail_to_read();
    std::setvbuf(file_, nullptr, _IONBF, 0);  // the block below is the buffer
    // A pipe, which cannot seek, has size 0: the size is only used to reserve memory.
    if (std::fseek(file_, 0, SEEK_END) == 0) {
      file_bytes_ = std::ftell(file_);
      std::rewind(file_);
    }
    block_.resize(block_bytes);
  }
  ~LineReader() { std::fclose(file_); }
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

  /// Size of the file, 0 when unknown.
  int64_t file_bytes() const { return file_bytes_; }
  /// Bytes of the lines handed out so far.
  int64_t consumed_bytes() const { return consumed_; }

  /// Complains about the line handed out last, or the first where there is none.
  [[noreturn]] void fail(const std::string& what) const { throw DataError(path_, std::max(number_, int64_t{1}), what); }

 private:
  static constexpr size_t block_bytes = size_t{2} << 20;

  [[noreturn]] void fail_to_read() const {
    throw ArgumentError("path: cannot read '" + path_ + "': " + std::strerror(errno));
  }

  void refill() {
    InterruptScope::check();
    std::memmove(block_.data(), block_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
    if (end_ == block_.size()) block_.resize(2 * block_.size());
    const size_t got = std::fread(block_.data() + end_, 1, block_.size() - end_, file_);
    if (got == 0 && std::ferror(file_)) fail_to_read();
    at_end_ = got == 0;
    end_ += got;
  }

  std::string path_;
  std::FILE* file_;
  int64_t file_bytes_ = 0;
  int64_t consumed_ = 0;
  int64_t number_ = 0;
  std::vector<char> block_;
  size_t begin_ = 0, end_ = 0;  // the unread part of block_
  bool at_end_ = false;
};

}  // namespace sparsexmc

// Lines of a text, read in large blocks.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sparsexmc/error.h"
#include "sparsexmc/interrupt.h"
#include "sparsexmc/text_source.h"

namespace sparsexmc {

/// Memory is one block, or twice the longest line if that is more, and no block is longer than the file. A byte-order
/// mark in front of the first line is no part of it.
class LineReader {
 public:
  explicit LineReader(TextSource source) : source_(std::move(source)) {
    const int64_t bytes = source_.bytes();
    block_.resize(static_cast<size_t>(bytes > 0 ? std::clamp<int64_t>(bytes + 1, 4096, block_bytes) : block_bytes));
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
    if (number_ == 0 && line.starts_with(byte_order_mark)) line.remove_prefix(byte_order_mark.size());
    consumed_ += static_cast<int64_t>(stop - begin_) + 1;
    begin_ = newline != nullptr ? stop + 1 : end_;
    ++number_;
    return true;
  }

  /// Size of the text if it is known, else 0.
  int64_t file_bytes() const { return source_.bytes(); }
  /// Bytes of the lines handed out so far.
  int64_t consumed_bytes() const { return consumed_; }

  /// Complains about the line handed out last, or the first where there is none.
  [[noreturn]] void fail(const std::string& what) const {
    throw DataError(source_.name(), std::max(number_, int64_t{1}), what);
  }

 private:
  static constexpr int64_t block_bytes = int64_t{2} << 20;
  static constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";

  void refill() {
    InterruptScope::check();
    std::memmove(block_.data(), block_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
    if (end_ == block_.size()) block_.resize(2 * block_.size());
    const size_t got = source_.read(block_.data() + end_, block_.size() - end_);
    at_end_ = got == 0;
    end_ += got;
  }

  TextSource source_;
  std::vector<char> block_;
  int64_t consumed_ = 0;
  int64_t number_ = 0;
  size_t begin_ = 0, end_ = 0;  // the unread part of block_
  bool at_end_ = false;
};

}  // namespace sparsexmc

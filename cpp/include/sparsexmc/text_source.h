// Where the readers of text take their bytes from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

#include "sparsexmc/export.h"

namespace sparsexmc {

/// The bytes of a text, once from its beginning to its end: a file, or whatever fills a block, such as a decompressor.
class SPARSEXMC_API TextSource {
 public:
  /// Fills up to `size` bytes, and returns how many; 0 at the end. What it throws, the reader throws.
  using Read = std::function<size_t(char* block, size_t size)>;

  /// A regular file, or a link to one.
  /// @throws ArgumentError if it cannot be opened, or is something else: a pipe would be waited for
  TextSource(const std::string& path);  // NOLINT(google-explicit-constructor): a path is where text lies
  /// @param name begins every message about the text
  TextSource(std::string name, Read read);

  const std::string& name() const { return name_; }
  /// Size of the file when it was opened; 0 if it is not known, as in /proc.
  int64_t bytes() const { return bytes_; }
  /// As `Read`. @throws ArgumentError if a file cannot be read
  size_t read(char* block, size_t size) { return read_(block, size); }

 private:
  std::string name_;
  int64_t bytes_ = 0;
  Read read_;
};

}  // namespace sparsexmc

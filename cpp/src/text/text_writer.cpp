#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "csr/check_csr.h"
#include "sparsexmc/error.h"
#include "sparsexmc/interrupt.h"
#include "sparsexmc/text_format.h"

namespace sparsexmc {
namespace {

/// A buffered text file. Whoever reads an incomplete one is told so by its header.
class Writer {
 public:
  explicit Writer(const std::string& path) : path_(path), file_(std::fopen(path.c_str(), "wb")) {
    if (file_ == nullptr) throw ArgumentError("path: cannot write '" + path + "': " + std::strerror(errno));
    std::setvbuf(file_, nullptr, _IOFBF, size_t{1} << 20);
  }
  ~Writer() {
    if (file_ != nullptr) std::fclose(file_);
  }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  void put(char c) { std::fputc(c, file_); }

  void end_row() {
    put('\n');
    InterruptScope::check();
  }

  template <class Number>
  void number(Number value) {
    char text[32];
    const auto end = std::to_chars(text, text + sizeof text, value).ptr;
    std::fwrite(text, 1, static_cast<size_t>(end - text), file_);
  }

  void entry(int64_t column, float value) {
    number(column);
    put(':');
    number(value);
  }

  void close() {
    // The error flag of the stream remembers a failed write of any of the calls above.
    bool failed = std::fflush(file_) != 0 || std::ferror(file_) != 0;
    const int reason = errno;
    failed = std::fclose(file_) != 0 || failed;
    file_ = nullptr;
    if (failed) throw Error("writing '" + path_ + "' failed, the file is incomplete: " + std::strerror(reason));
  }

 private:
  std::string path_;
  std::FILE* file_;
};

void check_features(const CsrView& features) {
  check_csr("features", features.rows, features.indptr, features.indices, features.cols, "column");
  for (int64_t i = features.indptr[0]; i < features.indptr[features.rows]; ++i) {
    if (std::isfinite(features.values[i])) continue;
    throw ArgumentError("features: stored value " + std::to_string(i) + " is not finite; replace NaN and infinity");
  }
}

void write_header(Writer& out, const std::vector<int64_t>& numbers) {
  for (size_t i = 0; i < numbers.size(); ++i) {
    if (i != 0) out.put(' ');
    out.number(numbers[i]);
  }
  out.put('\n');
}

void write_entries(Writer& out, const CsrView& features, int64_t row) {
  const int64_t begin = features.indptr[row];
  for (int64_t i = begin; i < features.indptr[row + 1]; ++i) {
    if (i != begin) out.put(' ');
    out.entry(features.indices[i], features.values[i]);
  }
}

}  // namespace

void write_repository(const std::string& path, const CsrView& features, const LabelsView& labels, int64_t num_labels) {
  if (labels.rows != features.rows) {
    throw ArgumentError("labels have " + std::to_string(labels.rows) + " rows and features " +
                        std::to_string(features.rows) + "; pass one row of each per instance");
  }
  check_features(features);
  check_csr("labels", labels.rows, labels.indptr, labels.indices, num_labels, "label id");
  Writer out(path);
  write_header(out, {features.rows, features.cols, num_labels});
  for (int64_t row = 0; row < features.rows; ++row) {
    const int64_t begin = labels.indptr[row];
    for (int64_t i = begin; i < labels.indptr[row + 1]; ++i) {
      if (i != begin) out.put(',');
      out.number(labels.indices[i]);
    }
    out.put(' ');
    write_entries(out, features, row);
    out.end_row();
  }
  out.close();
}

void write_features(const std::string& path, const CsrView& features) {
  check_features(features);
  Writer out(path);
  write_header(out, {features.rows, features.cols});
  for (int64_t row = 0; row < features.rows; ++row) {
    write_entries(out, features, row);
    out.end_row();
  }
  out.close();
}

void write_labels(const std::string& path, const LabelsView& labels, int64_t num_labels) {
  check_csr("labels", labels.rows, labels.indptr, labels.indices, num_labels, "label id");
  Writer out(path);
  write_header(out, {labels.rows, num_labels});
  for (int64_t row = 0; row < labels.rows; ++row) {
    const int64_t begin = labels.indptr[row];
    for (int64_t i = begin; i < labels.indptr[row + 1]; ++i) {
      if (i != begin) out.put(' ');
      out.entry(labels.indices[i], 1.0f);
    }
    out.end_row();
  }
  out.close();
}

}  // namespace sparsexmc

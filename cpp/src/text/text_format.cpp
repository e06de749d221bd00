#include "sparsexmc/text_format.h"

#include <algorithm>
#include <limits>
#include <string_view>
#include <utility>

#include "text/csr_builder.h"
#include "text/line_reader.h"
#include "text/rows.h"
#include "text/text_scan.h"

namespace sparsexmc {
namespace {

/// Rows after which the size of the whole is estimated.
constexpr int64_t rows_before_estimate = 1024;

/// The whole numbers of the header, e.g. form = "rows cols".
std::vector<int64_t> read_header(LineReader& reader, size_t count, const std::string& form, const std::string& remedy) {
  std::string_view line;
  if (!reader.next(line)) reader.fail("the file is empty; it must begin with a header '" + form + "'");
  std::vector<int64_t> numbers;
  for (std::string_view word : split(line)) {
    std::string_view rest = word;
    int64_t number = -1;
    if (!take_integer(rest, number) || !rest.empty() || number < 0) {
      reader.fail("bad header: " + quote(word) + " is not a count; the first line must be '" + form + "'");
    }
    numbers.push_back(number);
  }
  if (numbers.size() != count) {
    reader.fail("bad header " + quote(line) + ": expected '" + form + "'" +
                (numbers.size() == 5 - count ? "; " + remedy : ""));
  }
  for (size_t i = 1; i < count; ++i) {
    if (numbers[i] > std::numeric_limits<int32_t>::max()) {
      reader.fail("the header announces " + std::to_string(numbers[i]) + " columns; at most 2147483647 are supported");
    }
  }
  return numbers;
}

/// Calls parse(line) for the rows that the header announces, and holds the file to that number. `reserve(factor)` is
/// called once, when enough of the file is known to guess the rest.
template <class Parse, class Reserve>
void read_rows(LineReader& reader, int64_t rows, Parse&& parse, Reserve&& reserve) {
  std::string_view line;
  int64_t row = 0;
  for (; row < rows && reader.next(line); ++row) {
    parse(line);
    if (row + 1 == rows_before_estimate && reader.file_bytes() > 0) {
      reserve(1.02 * static_cast<double>(reader.file_bytes()) / static_cast<double>(reader.consumed_bytes()));
    }
  }
  if (row < rows) {
    reader.fail("the header announces " + std::to_string(rows) + " rows, but the file ends after " +
                std::to_string(row) + "; correct the header, or restore the missing rows");
  }
  while (reader.next(line)) {
    if (!skip_blanks(line).empty()) {
      reader.fail("the header announces " + std::to_string(rows) + " rows, but here is one more; correct the header");
    }
  }
}

CsrMatrix read_two_file_form(TextSource source, bool are_labels) {
  LineReader reader(std::move(source));
  const auto header = read_header(
      reader, 2, "rows cols", "three numbers begin the one-file form, which holds labels and features: read it alone");
  CsrBuilder builder(header[0], header[1], !are_labels, reader.file_bytes());
  read_rows(
      reader, header[0],
      [&](std::string_view line) {
        parse_entries(reader, line, {.size = header[1]}, are_labels ? "label" : "feature",
                      [&](int32_t column, float value) {
                        if (!are_labels || value != 0.0f) builder.add(column, value);
                      });
        builder.end_row(reader);
      },
      [&](double factor) { builder.reserve(factor); });
  return builder.take();
}

}  // namespace

RepositoryData read_repository(TextSource source) {
  LineReader reader(std::move(source));
  const auto header =
      read_header(reader, 3, "instances features labels",
                  "two numbers begin the two-file form: pass the files of features and labels as a pair");
  CsrBuilder features(header[0], header[1], true, reader.file_bytes());
  CsrBuilder labels(header[0], header[2], false, reader.file_bytes());
  read_rows(
      reader, header[0],
      [&](std::string_view line) {
        if (!line.empty() && !is_blank(line.front())) {
          parse_labels(reader, take_word(line), {.size = header[2]}, [&](int32_t label) { labels.add(label, 1.0f); });
        }
        parse_entries(reader, line, {.size = header[1]}, "feature",
                      [&](int32_t column, float value) { features.add(column, value); });
        labels.end_row(reader);
        features.end_row(reader);
      },
      [&](double factor) {
        features.reserve(factor);
        labels.reserve(factor);
      });
  return {features.take(), labels.take()};
}

CsrMatrix read_features(TextSource source) { return read_two_file_form(std::move(source), false); }

CsrMatrix read_labels(TextSource source) { return read_two_file_form(std::move(source), true); }

CsrMatrix read_filter(TextSource source, int64_t rows, int64_t num_labels) {
  LineReader reader(std::move(source));
  std::vector<std::pair<int64_t, int32_t>> pairs;
  for (std::string_view line; reader.next(line);) {
    std::string_view text = skip_blanks(line);
    if (text.empty()) continue;
    int64_t row = -1;
    if (!take_integer(text, row) || text.empty() || !is_blank(text.front())) {
      reader.fail("expected a pair 'row label' at " + quote(line));
    }
    if (row < 0 || row >= rows) {
      reader.fail("row " + std::to_string(row) + " is out of range: there are " + std::to_string(rows) +
                  " rows, counted from 0");
    }
    text = skip_blanks(text);
    pairs.emplace_back(row, take_index(reader, text, {.size = num_labels, .said_by = "the data has"}, "label"));
    if (!skip_blanks(text).empty()) reader.fail("trailing text " + quote(text) + " after the pair 'row label'");
  }
  std::sort(pairs.begin(), pairs.end());
  pairs.erase(std::unique(pairs.begin(), pairs.end()), pairs.end());
  CsrMatrix matrix{.rows = rows, .cols = num_labels, .indptr = {}, .indices = {}, .values = {}};
  matrix.indptr.assign(static_cast<size_t>(rows) + 1, 0);
  for (const auto& [row, label] : pairs) {
    matrix.indptr[static_cast<size_t>(row) + 1] += 1;
    matrix.indices.push_back(label);
  }
  for (int64_t row = 0; row < rows; ++row) matrix.indptr[row + 1] += matrix.indptr[row];
  return matrix;
}

}  // namespace sparsexmc

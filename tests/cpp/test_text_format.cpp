#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "scratch_directory.h"
#include "sparsexmc/error.h"
#include "sparsexmc/text_format.h"

using namespace sparsexmc;

namespace {

/// Enough rows for the estimate of the whole, and more bytes than one block of the reader.
std::string many_rows(int rows) {
  std::string text = std::to_string(rows) + " 1000 50\n";
  for (int row = 0; row < rows; ++row) {
    text += std::to_string(row % 50);
    for (int column = row % 7; column < 1000; column += 17) {
      text += " " + std::to_string(column) + ":" + std::to_string(column + 0.25);
    }
    text += "\n";
  }
  return text;
}

std::string message_of(const std::string& path) {
  try {
    read_repository(path);
  } catch (const DataError& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("a file of many blocks reads as it was written, and writes as it was read") {
  const ScratchDirectory scratch;
  const int rows = 6000;
  const std::string text = many_rows(rows);
  REQUIRE(text.size() > (size_t{4} << 20));
  write_text(scratch / "a.txt", text);
  const RepositoryData data = read_repository(scratch / "a.txt");
  REQUIRE(data.features.rows == rows);
  REQUIRE(data.labels.rows == rows);
  CHECK(data.features.cols == 1000);
  CHECK(data.labels.cols == 50);
  CHECK(data.labels.values.empty());
  int wrong = 0;
  for (int row = 0; row < rows; ++row) {
    wrong += data.labels.indices[row] != row % 50;
    int column = row % 7;
    for (int64_t i = data.features.indptr[row]; i < data.features.indptr[row + 1]; ++i, column += 17) {
      wrong += data.features.indices[i] != column || data.features.values[i] != static_cast<float>(column) + 0.25f;
    }
    wrong += column < 1000;
  }
  CHECK(wrong == 0);

  const CsrMatrix& x = data.features;
  const CsrMatrix& y = data.labels;
  const CsrView features{x.rows, x.cols, {x.indptr.data(), true}, {x.indices.data(), false}, x.values.data()};
  const LabelsView labels{y.rows, {y.indptr.data(), true}, {y.indices.data(), false}};
  write_repository(scratch / "b.txt", features, labels, y.cols);
  const RepositoryData again = read_repository(scratch / "b.txt");
  CHECK(again.features.indptr == x.indptr);
  CHECK(again.features.indices == x.indices);
  CHECK(again.features.values == x.values);
  CHECK(again.labels.indices == y.indices);
}

TEST_CASE("every prefix of a file is refused or whole, and never crashes") {
  const ScratchDirectory scratch;
  const std::string text = "3 9 4\r\n1,2 0:1.5 8:-2e-1\r\n 3:+1 3:2\r\n0\t7:1\r\n";
  for (size_t length = 0; length < text.size(); ++length) {
    write_text(scratch / "a.txt", text.substr(0, length));
    // The last line counts from its first label on; what is missing then is no longer visible in some prefixes.
    const bool has_all_rows = length > text.find("\n0\t7");
    if (!has_all_rows || text[length - 1] == ':') CHECK(message_of(scratch / "a.txt") != "no error");
  }
}

TEST_CASE("any single byte changed is read or refused, and never crashes") {
  const ScratchDirectory scratch;
  const std::string text = "2 9 4\n1,2 0:1.5 8:-2e-1\n 3:1 3:2\n";
  for (size_t at = 0; at < text.size(); ++at) {
    for (const char byte : {'\0', '\n', ' ', ',', ':', '-', 'e', '9', '\xff'}) {
      std::string changed = text;
      changed[at] = byte;
      write_text(scratch / "a.txt", changed);
      const std::string message = message_of(scratch / "a.txt");
      CHECK((message == "no error" || message.starts_with((scratch / "a.txt") + ":")));
    }
  }
}

TEST_CASE("what cannot be read or written is an argument error") {
  const ScratchDirectory scratch;
  CHECK_THROWS_AS(read_repository(scratch / "absent.txt"), ArgumentError);
  CHECK_THROWS_AS(read_features(scratch.path()), ArgumentError);  // a directory
  const std::vector<int64_t> indptr{0, 1};
  const std::vector<int32_t> indices{5};
  const LabelsView labels{1, {indptr.data(), true}, {indices.data(), false}};
  CHECK_THROWS_AS(write_labels(scratch / "no/where.txt", labels, 6), ArgumentError);
  CHECK_THROWS_AS(write_labels(scratch / "a.txt", labels, 5), ArgumentError);
  CHECK(list_names(scratch.path()).empty());
}

TEST_CASE("text comes from anything that fills a block, in pieces of any size") {
  const std::string text = "\xEF\xBB\xBF" + many_rows(50);
  for (const size_t piece : {size_t{1}, size_t{7}, size_t{1} << 20}) {
    size_t place = 0;
    const auto read = [&](char* block, size_t size) {
      const size_t count = std::min({piece, size, text.size() - place});
      std::copy_n(text.data() + place, count, block);
      place += count;
      return count;
    };
    const RepositoryData data = read_repository(TextSource("made up", read));
    CHECK(data.features.rows == 50);
    CHECK(data.features.cols == 1000);
    CHECK(data.labels.indices.size() == 50);
  }
  const auto fails = [](char*, size_t) -> size_t { throw DataError("made up", 3, "no more"); };
  CHECK_THROWS_WITH_AS(read_repository(TextSource("made up", fails)), "made up:3: no more", DataError);
}

TEST_CASE("a file without a header has the columns that its largest numbers ask for") {
  const ScratchDirectory scratch;
  write_text(scratch / "a.svm", "1,3 1:0.5 4:2 # comment\n\n 2:1 2:1\n");
  const RepositoryData data = read_libsvm(scratch / "a.svm", 0);
  CHECK(data.features.rows == 2);
  CHECK(data.features.cols == 5);
  CHECK(data.labels.cols == 4);
  CHECK(data.features.values == std::vector<float>{0.5f, 2.0f, 2.0f});
  const RepositoryData from_one = read_libsvm(scratch / "a.svm", 1);
  CHECK(from_one.features.cols == 4);
  CHECK(from_one.labels.indices == std::vector<int32_t>{0, 2});
  CHECK_THROWS_AS(read_libsvm(scratch / "a.svm", 2), ArgumentError);
}

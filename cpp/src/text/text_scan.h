// Takes numbers and words off the front of a line; what cannot be taken is reported with file and line.
#pragma once

#include <charconv>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "text/line_reader.h"

namespace sparsexmc {

inline bool is_blank(char c) { return c == ' ' || c == '\t'; }

inline std::string_view skip_blanks(std::string_view text) {
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  return text;
}

/// Text of the file inside an error message: short, and safe to print.
inline std::string quote(std::string_view text) {
  std::string out = "'";
  for (char c : text.substr(0, 40)) out += c >= ' ' && c <= '~' ? c : '?';
  return out + (text.size() > 40 ? "...'" : "'");
}

/// The text up to the next blank.
inline std::string_view first_word(std::string_view text) {
  size_t length = 0;
  while (length < text.size() && !is_blank(text[length])) ++length;
  return text.substr(0, length);
}

/// Takes the text up to the next blank.
inline std::string_view take_word(std::string_view& text) {
  const std::string_view word = first_word(text);
  text.remove_prefix(word.size());
  return word;
}

inline std::vector<std::string_view> split(std::string_view line) {
  std::vector<std::string_view> words;
  for (line = skip_blanks(line); !line.empty(); line = skip_blanks(line)) words.push_back(take_word(line));
  return words;
}

/// Takes an integer off the front of text; false if none stands there.
inline bool take_integer(std::string_view& text, int64_t& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (error == std::errc::result_out_of_range) out = text.front() == '-' ? -1 : std::numeric_limits<int64_t>::max();
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return error != std::errc::invalid_argument;
}

/// Which numbers a text may use.
struct Numbering {
  int64_t size;
  int64_t first = 0;                             ///< the number of column 0
  const char* said_by = "the header announces";  ///< what the size comes from; nullptr: it is the most that there is
};

/// Takes a column number, counted from 0 whatever the text counts from.
inline int32_t take_index(const LineReader& reader, std::string_view& text, const Numbering& numbers,
                          const char* what) {
  const std::string_view before = text;
  int64_t index = 0;
  if (!take_integer(text, index)) {
    reader.fail(std::string("expected the number of a ") + what + " at " + quote(before));
  }
  if (index < numbers.first || index - numbers.first >= numbers.size) {
    const std::string begin =
        std::string(what) + " " + std::string(before.substr(0, before.size() - text.size())) + " is out of range: ";
    if (numbers.said_by != nullptr) {
      reader.fail(begin + numbers.said_by + " " + std::to_string(numbers.size) +
                  ", and numbers count from 0; subtract 1 if the file counts from 1, or correct the size");
    }
    reader.fail(begin + "numbers count from " + std::to_string(numbers.first) + ", and at most " +
                std::to_string(numbers.size) + " are supported");
  }
  return static_cast<int32_t>(index - numbers.first);
}

/// Takes the finite value of an entry. What is too small for fp32 becomes 0.
inline float take_value(const LineReader& reader, std::string_view& text, std::string_view entry) {
  if (text.starts_with('+')) text.remove_prefix(1);
  float value = 0.0f;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc::invalid_argument)
    reader.fail("the value in " + quote(first_word(entry)) + " is not a number");
  if (error == std::errc::result_out_of_range) {
    double wide = 0.0;
    const bool small =
        std::from_chars(text.data(), text.data() + text.size(), wide).ec == std::errc{} && std::abs(wide) < 1.0;
    value = small ? static_cast<float>(wide) : std::numeric_limits<float>::infinity();
  }
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  if (!std::isfinite(value)) {
    reader.fail("the value in " + quote(first_word(entry)) +
                " is not a finite fp32 number; drop the entry or rescale the feature");
  }
  return value;
}

}  // namespace sparsexmc

// The rows that the text files have in common: `label,label column:value column:value ...`.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "text/line_reader.h"
#include "text/text_scan.h"

namespace sparsexmc {

/// `column:value column:value ...`, each into add(column, value).
template <class Add>
void parse_entries(const LineReader& reader, std::string_view text, const Numbering& numbers, const char* what,
                   Add&& add) {
  for (text = skip_blanks(text); !text.empty(); text = skip_blanks(text)) {
    const std::string_view entry = text;
    const int32_t column = take_index(reader, text, numbers, what);
    if (!text.starts_with(':')) {
      reader.fail("missing colon in " + quote(first_word(entry)) + "; entries are " + what + ":value");
    }
    text.remove_prefix(1);
    const float value = take_value(reader, text, entry);
    if (!text.empty() && !is_blank(text.front())) {
      reader.fail("trailing text " + quote(first_word(text)) + " in " + quote(first_word(entry)) + "; entries are " +
                  what + ":value, with blanks between them");
    }
    add(column, value);
  }
}

/// `label,label,...`, each into add(label).
template <class Add>
void parse_labels(const LineReader& reader, std::string_view word, const Numbering& numbers, Add&& add) {
  if (word.find(':') != std::string_view::npos) {
    reader.fail("expected labels at " + quote(word) + ", but it has a colon; a row without labels begins with a blank");
  }
  std::string_view text = word;
  while (true) {
    add(take_index(reader, text, numbers, "label"));
    if (text.empty()) return;
    if (text.front() != ',') {
      reader.fail("trailing text " + quote(text) + " in labels " + quote(word) +
                  "; labels are numbers with commas between");
    }
    text.remove_prefix(1);
  }
}

}  // namespace sparsexmc

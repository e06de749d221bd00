#include <algorithm>
#include <limits>
#include <string_view>
#include <utility>

#include "sparsexmc/text_format.h"
#include "text/csr_builder.h"
#include "text/line_reader.h"
#include "text/rows.h"
#include "text/text_scan.h"

namespace sparsexmc {

RepositoryData read_libsvm(TextSource source, int64_t first_number) {
  if (first_number != 0 && first_number != 1) {
    throw ArgumentError("first_number=" + std::to_string(first_number) + " must be 0 or 1, which the file counts from");
  }
  LineReader reader(std::move(source));
  const Numbering numbers{.size = std::numeric_limits<int32_t>::max(), .first = first_number, .said_by = nullptr};
  CsrBuilder features(0, 0, true, 0);
  CsrBuilder labels(0, 0, false, 0);
  int64_t num_features = 0, num_labels = 0;
  for (std::string_view line; reader.next(line);) {
    line = line.substr(0, line.find('#'));
    if (skip_blanks(line).empty()) continue;
    if (!is_blank(line.front())) {
      parse_labels(reader, take_word(line), numbers, [&](int32_t label) {
        num_labels = std::max(num_labels, int64_t{label} + 1);
        labels.add(label, 1.0f);
      });
    }
    parse_entries(reader, line, numbers, "feature", [&](int32_t column, float value) {
      num_features = std::max(num_features, int64_t{column} + 1);
      features.add(column, value);
    });
    labels.end_row(reader);
    features.end_row(reader);
  }
  RepositoryData data{features.take(), labels.take()};
  if (data.features.rows == 0) reader.fail("the file holds no row `label,label feature:value ...`");
  data.features.cols = num_features;
  data.labels.cols = num_labels;
  return data;
}

}  // namespace sparsexmc

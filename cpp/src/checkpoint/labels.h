// labels.txt: the names of the labels, one per line, by user label id.
#pragma once

#include <string>
#include <vector>

#include "checkpoint/file.h"

namespace sparsexmc::checkpoint {

/// Unicode 15, table 3-7: no overlong forms, no surrogates, nothing above U+10FFFF.
bool is_utf8(const std::string& text);

/// @throws ArgumentError if there are other than 0 or num_labels names, or one holds a line break or is not UTF-8
void check_label_names(const std::vector<std::string>& names, int64_t num_labels);

void write_label_names(OutputFile& file, const std::vector<std::string>& names);

/// @throws CheckpointError if there are not num_labels lines
std::vector<std::string> read_label_names(const InputFile& file, int64_t num_labels);

}  // namespace sparsexmc::checkpoint

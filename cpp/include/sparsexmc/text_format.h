// The text files of the extreme-classification repository: one file with labels and features, or a file for each.
#pragma once

#include <cstdint>
#include <string>

#include "sparsexmc/csr_matrix.h"
#include "sparsexmc/export.h"
#include "sparsexmc/tensor_view.h"

namespace sparsexmc {

struct RepositoryData {
  CsrMatrix features;
  CsrMatrix labels;
};

/// One file: a header `instances features labels`, then a row `label,label column:value column:value ...` per instance.
/// A row without labels begins with white space; a blank line is an instance with neither. Numbers count from 0.
/// A feature that comes twice in a row is summed, a label counted once.
/// @throws DataError with file and line; ArgumentError if the file cannot be read
SPARSEXMC_API RepositoryData read_repository(const std::string& path);

/// The two-file form, features: a header `rows cols`, then `column:value ...` per row; a blank line is an empty row.
/// @throws as read_repository
SPARSEXMC_API CsrMatrix read_features(const std::string& path);

/// The two-file form, labels: the same file, of which the columns with a value other than 0 are the labels.
/// @throws as read_repository
SPARSEXMC_API CsrMatrix read_labels(const std::string& path);

/// A filter file: a pair `row label` per line, no header. Blank lines are skipped.
/// @throws as read_repository
SPARSEXMC_API CsrMatrix read_filter(const std::string& path, int64_t rows, int64_t num_labels);

/// Writers of the same files. Values are written with the fewest digits that read back as the same fp32 number.
/// @throws ArgumentError for an index out of range, a value that is not finite or an unwritable path, before anything
///         is written; Error when writing fails midway
SPARSEXMC_API void write_repository(const std::string& path, const CsrView& features, const LabelsView& labels,
                                    int64_t num_labels);
SPARSEXMC_API void write_features(const std::string& path, const CsrView& features);
SPARSEXMC_API void write_labels(const std::string& path, const LabelsView& labels, int64_t num_labels);

}  // namespace sparsexmc

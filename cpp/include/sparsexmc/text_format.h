// Text files of labels and sparse features: those of the extreme-classification repository (one file with both, or a
// file for each), and LIBSVM's, which have no header.
#pragma once

#include <cstdint>
#include <string>

#include "sparsexmc/csr_matrix.h"
#include "sparsexmc/export.h"
#include "sparsexmc/tensor_view.h"
#include "sparsexmc/text_source.h"

namespace sparsexmc {

struct RepositoryData {
  CsrMatrix features;
  CsrMatrix labels;
};

/// One file: a header `instances features labels`, then a row `label,label column:value column:value ...` per instance.
/// A row without labels begins with white space; a blank line is an instance with neither. Numbers count from 0.
/// A feature that comes twice in a row is summed, a label counted once. A byte-order mark is passed over, here and in
/// all other texts.
/// @throws DataError with file and line; ArgumentError if the file cannot be read
SPARSEXMC_API RepositoryData read_repository(TextSource source);

/// LIBSVM: rows as of `read_repository` without a header. There are as many columns as the largest number asks for.
/// Blank lines are skipped, and what follows a `#` is a comment.
/// @param first_number  of features and labels: 0, or 1, which is subtracted from all of them
/// @throws as read_repository
SPARSEXMC_API RepositoryData read_libsvm(TextSource source, int64_t first_number);

/// The two-file form, features: a header `rows cols`, then `column:value ...` per row; a blank line is an empty row.
/// @throws as read_repository
SPARSEXMC_API CsrMatrix read_features(TextSource source);

/// The two-file form, labels: the same file, of which the columns with a value other than 0 are the labels.
/// @throws as read_repository
SPARSEXMC_API CsrMatrix read_labels(TextSource source);

/// A filter file: a pair `row label` per line, no header. Blank lines are skipped.
/// @throws as read_repository
SPARSEXMC_API CsrMatrix read_filter(TextSource source, int64_t rows, int64_t num_labels);

/// Writers of the same files. Values are written with the fewest digits that read back as the same fp32 number.
/// @throws ArgumentError for an index out of range, a value that is not finite or an unwritable path, before anything
///         is written; Error when writing fails midway
SPARSEXMC_API void write_repository(const std::string& path, const CsrView& features, const LabelsView& labels,
                                    int64_t num_labels);
SPARSEXMC_API void write_features(const std::string& path, const CsrView& features);
SPARSEXMC_API void write_labels(const std::string& path, const LabelsView& labels, int64_t num_labels);

}  // namespace sparsexmc

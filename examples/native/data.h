// The data of the example: made up or read from a file, then split into training and test rows.
#pragma once

#include <cstdint>
#include <utility>

#include "sparsexmc/tensor_view.h"
#include "sparsexmc/text_format.h"

/// Documents about topics: every label has a few words of its own, a document carries the words of its labels and some
/// noise. Labels are as unevenly frequent as real ones: number r comes about 1 / (r + 10) of the time.
sparsexmc::RepositoryData make_documents(int64_t documents, int64_t words, int64_t num_labels);

/// Shuffles the rows, scales each to unit length and splits off the last `test_share` of them.
std::pair<sparsexmc::RepositoryData, sparsexmc::RepositoryData> split(const sparsexmc::RepositoryData& data,
                                                                      double test_share);

/// Rows [first, first + rows) without a copy.
sparsexmc::CsrView feature_rows(const sparsexmc::CsrMatrix& features, int64_t first, int64_t rows);
sparsexmc::LabelsView label_rows(const sparsexmc::CsrMatrix& labels, int64_t first, int64_t rows);

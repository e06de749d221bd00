// Exact search by inner product through an inverted index.
#pragma once

#include <cstdint>

#include "sparsexmc/export.h"
#include "sparsexmc/tensor_view.h"
#include "sparsexmc/thread_pool.h"

namespace sparsexmc {

/// The columns with the largest positive inner product with each query, exactly. Of equal ones the smaller comes first,
/// so the result does not depend on threads.
///
/// @param postings a row per feature, a column per thing to be found (an instance, a label), all finite
/// @param queries [n, postings.rows], all finite
/// @param excluded columns that a query must not find, a row per query; null: none
/// @param count columns per query
/// @param products [n, count] descending; 0 where fewer than `count` columns have a positive product
/// @param columns [n, count]; -1 in those places
/// @throws ArgumentError
SPARSEXMC_API void largest_products(const CsrView& postings, const CsrView& queries, const LabelsView* excluded,
                                    int64_t count, float* products, int64_t* columns, ThreadPool& pool);

}  // namespace sparsexmc

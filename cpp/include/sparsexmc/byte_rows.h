// Exact search by inner product among dense vectors that are kept with a byte per number.
#pragma once

#include <cstdint>

#include "sparsexmc/context.h"
#include "sparsexmc/export.h"
#include "sparsexmc/tensor_view.h"

namespace sparsexmc {

/// `count` vectors scale * value. Groups of vectors lie together, number by number, as the products read them.
struct ByteRows {
  static constexpr int64_t group = 32;
  const int8_t* values = nullptr;  ///< [ceil(count / group), features, group]; what follows the last is not read
  const float* scales = nullptr;   ///< [count], finite
  int64_t count = 0;               ///< 1 .. 2^32 - 2
  int64_t features = 0;
};

/// The rows with the largest inner product with each query. Of equal ones the smaller number comes first, so the result
/// does not depend on threads.
///
/// @param queries [n, rows.features] float32 in host memory, finite
/// @param k rows per query, at most rows.count
/// @param products [n, k] descending  @param numbers [n, k] of the rows
/// @param context a CPU's, whose threads do the work
/// @throws ArgumentError
SPARSEXMC_API void largest_products(const ByteRows& rows, const TensorView& queries, int64_t k, float* products,
                                    int64_t* numbers, Context& context);

}  // namespace sparsexmc

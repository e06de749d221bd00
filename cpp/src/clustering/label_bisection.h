// Recursive 2-means over labels, cut between groups.
#pragma once

#include <cstdint>
#include <span>

#include "clustering/label_vectors.h"

namespace sparsexmc {

/// Reorders `labels` so that groups of exactly `group_size` consecutive ones (the last may be shorter) are alike.
/// Defined for both kinds of vectors. Needs 8 bytes per dimension for each thread, and 26 per label.
/// @param labels fewer than 2^32; their order matters where vectors are equal
template <class Vectors>
void bisect_labels(const Vectors& vectors, std::span<uint32_t> labels, int64_t group_size, uint64_t seed,
                   ThreadPool& pool);

}  // namespace sparsexmc

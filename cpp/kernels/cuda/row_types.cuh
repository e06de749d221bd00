// From dtypes and group size to the types of a row tile.
#pragma once

#include "step_layout.h"
#include "visit.h"

namespace sparsexmc::cuda {

/// Calls body.template operator()<T, W, Rows, labels>(): what the products read, how weights are stored, rows of a
/// tile, and whether they are labels with features of their own (always 32 in a tile) or rows of a group.
template <class Body>
void visit_row_types(DType compute, DType weights, int64_t group_size, Body&& body) {
  visit_compute(compute, [&]<class T>(T) {
    visit_compute(weights, [&]<class W>(W) {
      if (group_size == 1)
        body.template operator()<T, W, 32, true>();
      else if (tile_rows(group_size) == 16)
        body.template operator()<T, W, 16, false>();
      else
        body.template operator()<T, W, 32, false>();
    });
  });
}

}  // namespace sparsexmc::cuda

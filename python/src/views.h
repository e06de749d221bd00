// Views of NumPy arrays in CSR form. Here, and nowhere else, CSR arrays come from Python into C++: every offset leads
// into its array. That columns are in range is checked by whoever knows how many there are, see csr/check_csr.h.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <optional>
#include <string>

#include "sparsexmc/error.h"
#include "sparsexmc/tensor_view.h"

namespace sparsexmc::python {

/// int32 or int64; the dtype is checked by index_view.
using Indices = nanobind::ndarray<nanobind::ro, nanobind::ndim<1>, nanobind::c_contig, nanobind::device::cpu>;
using Values = nanobind::ndarray<const float, nanobind::ndim<1>, nanobind::c_contig, nanobind::device::cpu>;

inline IndexView index_view(const char* name, const Indices& array) {
  if (array.dtype() == nanobind::dtype<int64_t>()) return {array.data(), true};
  if (array.dtype() == nanobind::dtype<int32_t>()) return {array.data(), false};
  throw TypeError(std::string(name) + " must be int32 or int64");
}

/// Number of rows of a CSR structure: offsets begin with 0, never fall, and end with the number of indices.
/// @param what for messages, e.g. "labels"
inline int64_t checked_rows(const std::string& what, const Indices& indptr, IndexView offsets, const Indices& indices) {
  const auto rows = static_cast<int64_t>(indptr.size()) - 1;
  if (rows < 0) throw ArgumentError(what + ": indptr is empty; it needs one entry more than there are rows");
  if (offsets[0] != 0) throw ArgumentError(what + ": indptr[0] is " + std::to_string(offsets[0]) + "; it must be 0");
  for (int64_t row = 0; row < rows; ++row)
    if (offsets[row + 1] < offsets[row])
      throw ArgumentError(what + ": indptr decreases at row " + std::to_string(row) + "; offsets must not decrease");
  if (offsets[rows] != static_cast<int64_t>(indices.size()))
    throw ArgumentError(what + ": indptr ends at " + std::to_string(offsets[rows]) + ", but there are " +
                        std::to_string(indices.size()) + " indices; they must agree");
  return rows;
}

inline LabelsView labels_view(const Indices& indptr, const Indices& indices) {
  const IndexView offsets = index_view("labels: indptr", indptr);
  return {checked_rows("labels", indptr, offsets, indices), offsets, index_view("labels: indices", indices)};
}

inline CsrView features_view(const Indices& indptr, const Indices& indices, const Values& values, int64_t cols) {
  const IndexView offsets = index_view("features: indptr", indptr);
  if (cols < 0) throw ArgumentError("features: " + std::to_string(cols) + " columns; there must be at least 0");
  if (values.size() != indices.size()) throw ArgumentError("features: indices and values differ in length");
  return {checked_rows("features", indptr, offsets, indices), cols, offsets, index_view("features: indices", indices),
          values.data()};
}

/// One weight per row, or null for None.
inline const float* instance_weights_view(const std::optional<Values>& weights, int64_t rows) {
  if (!weights) return nullptr;
  if (static_cast<int64_t>(weights->size()) != rows)
    throw ArgumentError("instance_weights: " + std::to_string(weights->size()) + " numbers for " +
                        std::to_string(rows) + " rows; give one per instance");
  return weights->data();
}

}  // namespace sparsexmc::python

// One-versus-rest linear classifiers.
#include "sparsexmc/linear.h"

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/tuple.h>

#include <tuple>
#include <utility>

#include "bindings.h"
#include "numpy_array.h"
#include "views.h"

namespace nb = nanobind;

namespace sparsexmc::python {
namespace {

using Postings = std::tuple<NumPyArray<float>, NumPyArray<int32_t>, NumPyArray<int64_t>>;

Postings train(const Indices& indptr, const Indices& indices, const Values& values, int64_t cols,
               const Indices& label_indptr, const Indices& label_indices, int64_t num_labels, double cost,
               int64_t negatives, int64_t rounds, double threshold, uint64_t seed, int num_threads) {
  const CsrView X = features_view(indptr, indices, values, cols);
  const LabelsView Y = labels_view(label_indptr, label_indices);
  CsrMatrix postings = [&] {
    const nb::gil_scoped_release release;
    ThreadPool pool(num_threads);
    return train_linear(X, Y, num_labels, {cost, negatives, rounds, threshold, seed}, pool, raise_signals);
  }();
  return {to_numpy(std::move(postings.values)), to_numpy(std::move(postings.indices)),
          to_numpy(std::move(postings.indptr))};
}

}  // namespace

void bind_linear(nb::module_& m) {
  m.def("train_linear", &train, nb::arg("indptr").noconvert(), nb::arg("indices").noconvert(),
        nb::arg("values").noconvert(), nb::arg("cols"), nb::arg("label_indptr").noconvert(),
        nb::arg("label_indices").noconvert(), nb::arg("num_labels"), nb::arg("cost"), nb::arg("negatives"),
        nb::arg("rounds"), nb::arg("threshold"), nb::arg("seed"), nb::arg("num_threads"),
        "(data, indices, indptr) of the weights, a CSR matrix with a row per feature and a column per label.");
}

}  // namespace sparsexmc::python

// Label orders in which groups hold labels that are alike.
#include "sparsexmc/cluster_labels.h"

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <utility>

#include "bindings.h"
#include "gil.h"
#include "numpy_array.h"
#include "tensor.h"
#include "views.h"

namespace nb = nanobind;

namespace sparsexmc::python {
namespace {

template <class Features>
NumPyArray<int64_t> cluster(const Features& X, const Indices& indptr, const Indices& indices, int64_t num_labels,
                            int64_t group_size, int64_t dense_labels, int num_threads, uint64_t seed) {
  const LabelsView Y = labels_view(indptr, indices);
  const LabelClustering clustering{group_size, dense_labels, seed};
  std::vector<int64_t> order;
  {
    const WithoutGil released;
    ThreadPool pool(num_threads);
    order = cluster_labels(X, Y, num_labels, clustering, pool);
  }
  return to_numpy(std::move(order));
}

NumPyArray<int64_t> cluster_dense(const Tensor& X, const Indices& indptr, const Indices& indices, int64_t num_labels,
                                  int64_t group_size, int64_t dense_labels, int num_threads, uint64_t seed) {
  return cluster(X.matrix(), indptr, indices, num_labels, group_size, dense_labels, num_threads, seed);
}

NumPyArray<int64_t> cluster_sparse(const Indices& X_indptr, const Indices& X_indices, const Values& X_values,
                                   int64_t X_cols, const Indices& indptr, const Indices& indices, int64_t num_labels,
                                   int64_t group_size, int64_t dense_labels, int num_threads, uint64_t seed) {
  const CsrView X = features_view(X_indptr, X_indices, X_values, X_cols);
  return cluster(X, indptr, indices, num_labels, group_size, dense_labels, num_threads, seed);
}

}  // namespace

void bind_cluster_labels(nb::module_& m) {
  m.def("cluster_labels", &cluster_dense, nb::arg("X"), nb::arg("indptr").noconvert(), nb::arg("indices").noconvert(),
        nb::arg("num_labels"), nb::arg("group_size"), nb::arg("dense_labels"), nb::arg("num_threads"), nb::arg("seed"),
        "Label ids in internal order, groups alike; dense features.");
  m.def("cluster_labels_sparse", &cluster_sparse, nb::arg("X_indptr").noconvert(), nb::arg("X_indices").noconvert(),
        nb::arg("X_values").noconvert(), nb::arg("X_cols"), nb::arg("indptr").noconvert(),
        nb::arg("indices").noconvert(), nb::arg("num_labels"), nb::arg("group_size"), nb::arg("dense_labels"),
        nb::arg("num_threads"), nb::arg("seed"), "The same with features in CSR form.");
}

}  // namespace sparsexmc::python

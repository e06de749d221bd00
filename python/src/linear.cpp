// One-versus-rest linear classifiers.
#include "sparsexmc/linear.h"

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/tuple.h>

#include <optional>
#include <tuple>
#include <utility>

#include "bindings.h"
#include "numpy_array.h"
#include "views.h"

namespace nb = nanobind;

namespace sparsexmc::python {
namespace {

using Postings = std::tuple<NumPyArray<float>, NumPyArray<int32_t>, NumPyArray<int64_t>>;
using Rows = nb::ndarray<const int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

/// A training with the threads that it runs on.
class Training {
 public:
  Training(const Indices& indptr, const Indices& indices, const Values& values, int64_t cols,
           const Indices& label_indptr, const Indices& label_indices, int64_t num_labels, const Rows& held,
           int64_t negatives, double threshold, uint64_t seed, int num_threads)
      : pool_(num_threads) {
    const CsrView X = features_view(indptr, indices, values, cols);
    const LabelsView Y = labels_view(label_indptr, label_indices);
    const nb::gil_scoped_release release;
    training_.emplace(X, Y, num_labels, LinearOptions{negatives, threshold, seed},
                      InstanceSpan{held.data(), held.size()}, pool_, raise_signals);
  }

  void search() {
    const nb::gil_scoped_release release;
    training_->search(raise_signals);
  }
  void solve(double cost) {
    const nb::gil_scoped_release release;
    training_->solve(cost, raise_signals);
  }
  void admit_held() { training_->admit_held(); }

  Postings weights() const {
    CsrMatrix copy = [&] {
      const nb::gil_scoped_release release;
      return training_->weights();
    }();
    return {to_numpy(std::move(copy.values)), to_numpy(std::move(copy.indices)), to_numpy(std::move(copy.indptr))};
  }

 private:
  ThreadPool pool_;
  std::optional<LinearTraining> training_;
};

}  // namespace

void bind_linear(nb::module_& m) {
  nb::class_<Training>(m, "LinearTraining")
      .def(nb::init<const Indices&, const Indices&, const Values&, int64_t, const Indices&, const Indices&, int64_t,
                    const Rows&, int64_t, double, uint64_t, int>(),
           nb::arg("indptr").noconvert(), nb::arg("indices").noconvert(), nb::arg("values").noconvert(),
           nb::arg("cols"), nb::arg("label_indptr").noconvert(), nb::arg("label_indices").noconvert(),
           nb::arg("num_labels"), nb::arg("held").noconvert(), nb::arg("negatives"), nb::arg("threshold"),
           nb::arg("seed"), nb::arg("num_threads"))
      .def("search", &Training::search)
      .def("solve", &Training::solve, nb::arg("cost"))
      .def("admit_held", &Training::admit_held)
      .def("weights", &Training::weights,
           "(data, indices, indptr) of the weights, a CSR matrix with a row per feature and a column per label.");
}

}  // namespace sparsexmc::python

// One-versus-rest linear classifiers.
#include "sparsexmc/linear.h"

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/tuple.h>

#include <mutex>
#include <optional>
#include <span>
#include <tuple>
#include <type_traits>
#include <utility>

#include "bindings.h"
#include "call_lock.h"
#include "gil.h"
#include "numpy_array.h"
#include "sparsexmc/error.h"
#include "views.h"

namespace nb = nanobind;

namespace sparsexmc::python {
namespace {

using Postings = std::tuple<NumPyArray<float>, NumPyArray<int32_t>, NumPyArray<int64_t>>;
using Rows = nb::ndarray<const int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

/// A training with the threads that it runs on. Calls from several threads of Python take turns.
class Training {
 public:
  Training(const Indices& indptr, const Indices& indices, const Values& values, int64_t cols,
           const Indices& label_indptr, const Indices& label_indices, int64_t num_labels, const Rows& held,
           const std::optional<Values>& instance_weights, int64_t negatives, double threshold, uint64_t seed,
           int num_threads)
      : pool_(num_threads) {
    const CsrView X = features_view(indptr, indices, values, cols);
    const LabelsView Y = labels_view(label_indptr, label_indices);
    const WithoutGil released;
    training_.emplace(X, Y, num_labels, LinearOptions{negatives, threshold, seed},
                      InstanceSpan{held.data(), held.size()}, pool_,
                      instance_weights ? std::span<const float>(instance_weights->data(), instance_weights->size())
                                       : std::span<const float>());
  }

  void search() {
    run([](LinearTraining& training) { training.search(); });
  }
  void solve(double cost) {
    run([cost](LinearTraining& training) { training.solve(cost); });
  }
  void admit_held() {
    run([](LinearTraining& training) { training.admit_held(); });
  }

  Postings weights() {
    return postings(run([](const LinearTraining& training) { return training.weights(); }));
  }
  /// Without a copy; nothing else can be called then.
  Postings take_weights() {
    return postings(run([this](LinearTraining& training) {
      CsrMatrix taken = training.take_weights();
      training_.reset();
      return taken;
    }));
  }

 private:
  template <class Work>
  std::invoke_result_t<Work, LinearTraining&> run(const Work& work) {
    const WithoutGil released;
    const std::lock_guard lock(lock_);
    if (!training_) throw ArgumentError("the training has given its weights away; begin a new one");
    return work(*training_);
  }

  static Postings postings(CsrMatrix weights) {
    return {to_numpy(std::move(weights.values)), to_numpy(std::move(weights.indices)),
            to_numpy(std::move(weights.indptr))};
  }

  CallLock lock_{"training of linear classifiers"};
  ThreadPool pool_;
  std::optional<LinearTraining> training_;
};

}  // namespace

void bind_linear(nb::module_& m) {
  nb::class_<Training>(m, "LinearTraining")
      .def(nb::init<const Indices&, const Indices&, const Values&, int64_t, const Indices&, const Indices&, int64_t,
                    const Rows&, const std::optional<Values>&, int64_t, double, uint64_t, int>(),
           nb::arg("indptr").noconvert(), nb::arg("indices").noconvert(), nb::arg("values").noconvert(),
           nb::arg("cols"), nb::arg("label_indptr").noconvert(), nb::arg("label_indices").noconvert(),
           nb::arg("num_labels"), nb::arg("held").noconvert(), nb::arg("instance_weights").noconvert().none(),
           nb::arg("negatives"), nb::arg("threshold"), nb::arg("seed"), nb::arg("num_threads"))
      .def("search", &Training::search)
      .def("solve", &Training::solve, nb::arg("cost"))
      .def("admit_held", &Training::admit_held)
      .def("weights", &Training::weights,
           "(data, indices, indptr) of the weights, a CSR matrix with a row per feature and a column per label.")
      .def("take_weights", &Training::take_weights, "The same without a copy, as the last call.");
}

}  // namespace sparsexmc::python

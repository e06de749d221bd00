// Ranking metrics and propensities.
#include "sparsexmc/metrics.h"

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <mutex>
#include <optional>
#include <string>
#include <tuple>
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

using Counts = nb::ndarray<const int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Weights = nb::ndarray<const double, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using LabelCount = NumPyArray<uint32_t>;
using Ids = nb::ndarray<const int64_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

/// Sums that Python threads may share: one call at a time, each without the GIL.
class Accumulator {
 public:
  Accumulator(int64_t num_labels, std::vector<int64_t> ks, const std::optional<Weights>& weights)
      : metrics_(num_labels, std::move(ks),
                 weights ? std::vector<double>(weights->data(), weights->data() + weights->size())
                         : std::vector<double>{}) {}

  void update(const Ids& ids, const Indices& indptr, const Indices& indices) {
    const LabelsView truth = labels_view(indptr, indices);
    if (static_cast<int64_t>(ids.shape(0)) != truth.rows) {
      throw ArgumentError("ids has " + std::to_string(ids.shape(0)) + " rows and Y_true " + std::to_string(truth.rows) +
                          "; pass one row of each per instance");
    }
    const WithoutGil released;
    const std::lock_guard lock(lock_);
    metrics_.update(ids.data(), static_cast<int64_t>(ids.shape(1)), truth);
  }

  std::vector<MetricsAtK> compute() {
    const WithoutGil released;
    const std::lock_guard lock(lock_);
    return metrics_.compute();
  }

  std::tuple<LabelCount, LabelCount, LabelCount> label_counts(int64_t k) {
    LabelCounts counts;
    {
      const WithoutGil released;
      const std::lock_guard lock(lock_);
      counts = metrics_.label_counts(k);
    }
    return {to_numpy(std::move(counts.positives)), to_numpy(std::move(counts.predictions)),
            to_numpy(std::move(counts.hits))};
  }

  int64_t num_instances() {
    const WithoutGil released;
    const std::lock_guard lock(lock_);
    return metrics_.num_instances();
  }

 private:
  CallLock lock_{"metrics"};
  RankingMetrics metrics_;
};

NumPyArray<double> inverse_propensities_of(const Counts& counts, int64_t num_train, double a, double b) {
  std::vector<double> q;
  {
    const WithoutGil released;
    q = inverse_propensities(counts.data(), static_cast<int64_t>(counts.size()), num_train, a, b);
  }
  return to_numpy(std::move(q));
}

}  // namespace

void bind_metrics(nb::module_& m) {
  nb::class_<MetricsAtK>(m, "MetricsAtK", "All metrics at one cut-off k, as shares in [0, 1].")
      .def_ro("k", &MetricsAtK::k)
      .def_ro("precision", &MetricsAtK::precision)
      .def_ro("ndcg", &MetricsAtK::ndcg)
      .def_ro("recall", &MetricsAtK::recall)
      .def_ro("psp", &MetricsAtK::psp)
      .def_ro("psndcg", &MetricsAtK::psndcg)
      .def_ro("coverage", &MetricsAtK::coverage)
      .def_ro("macro_f1", &MetricsAtK::macro_f1);
  nb::class_<Accumulator>(m, "RankingMetrics", "Accumulates ranking metrics batch by batch.")
      .def(nb::init<int64_t, std::vector<int64_t>, const std::optional<Weights>&>(), nb::arg("num_labels"),
           nb::arg("ks"), nb::arg("inverse_propensities").noconvert() = nb::none())
      .def("update", &Accumulator::update, nb::arg("ids").noconvert(), nb::arg("indptr").noconvert(),
           nb::arg("indices").noconvert(),
           "Adds a batch: ids [n, width], best first, -1 for no prediction; the positives as CSR rows.")
      .def("compute", &Accumulator::compute)
      .def("label_counts", &Accumulator::label_counts, nb::arg("k"),
           "Positives, predictions and hits of every label at the cut-off k, each [num_labels].")
      .def_prop_ro("num_instances", &Accumulator::num_instances);
  m.def("inverse_propensities", &inverse_propensities_of, nb::arg("counts").noconvert(), nb::arg("num_train"),
        nb::arg("A"), nb::arg("B"), "q = 1 + C (n + B)^-A for every label.");
}

}  // namespace sparsexmc::python

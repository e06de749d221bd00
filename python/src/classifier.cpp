// The classifier and its plan. Views are made and checked here; everything else is the engine's.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <mutex>
#include <tuple>
#include <utility>

#include "bindings.h"
#include "sparsexmc/classifier.h"
#include "sparsexmc/error.h"
#include "sparsexmc/plan.h"
#include "tensor.h"
#include "views.h"

namespace nb = nanobind;

namespace sparsexmc::python {
namespace {

using Numbers = nb::ndarray<const int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Scores = nb::ndarray<float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Ids = nb::ndarray<int64_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Entries = std::vector<std::pair<std::string, size_t>>;

/// A classifier that Python threads may share: one call at a time, each without the GIL.
class Engine {
 public:
  explicit Engine(Classifier classifier) : classifier_(std::move(classifier)) {}

  /// body(classifier) must not touch Python objects.
  template <class Body>
  auto call(Body&& body) {
    const nb::gil_scoped_release release;
    const std::lock_guard lock(mutex_);
    return body(classifier_);
  }

 private:
  std::mutex mutex_;
  Classifier classifier_;
};

OnNonfinite on_nonfinite(bool skip) { return skip ? OnNonfinite::skip : OnNonfinite::raise; }

std::tuple<double, bool, bool> train_step(Engine& engine, const Tensor& embeddings, const Indices& label_indptr,
                                          const Indices& label_indices, const Tensor* gradient, bool skip) {
  const TensorView x = embeddings.matrix();
  const LabelsView labels = labels_view(label_indptr, label_indices);
  const TensorView dx = gradient ? gradient->matrix() : TensorView{};
  const StepResult result =
      engine.call([&](Classifier& c) { return c.train_step(x, labels, gradient ? &dx : nullptr, on_nonfinite(skip)); });
  return {result.loss, result.skipped, result.rewired};
}

std::tuple<double, bool, bool> train_step_sparse(Engine& engine, const Indices& indptr, const Indices& indices,
                                                 const Values& values, int64_t cols, const Indices& label_indptr,
                                                 const Indices& label_indices, bool skip) {
  const CsrView features = features_view(indptr, indices, values, cols);
  const LabelsView labels = labels_view(label_indptr, label_indices);
  const StepResult result =
      engine.call([&](Classifier& c) { return c.train_step(features, labels, on_nonfinite(skip)); });
  return {result.loss, result.skipped, result.rewired};
}

template <class View>
void topk(Engine& engine, const View& x, const Scores& scores, const Ids& ids) {
  const auto k = static_cast<int64_t>(scores.shape(1));
  if (ids.shape(0) != scores.shape(0) || ids.shape(1) != scores.shape(1) ||
      x.rows != static_cast<int64_t>(ids.shape(0)))
    throw ArgumentError("scores and ids must both be [rows, k]");
  engine.call([&](Classifier& c) { c.topk(x, k, scores.data(), ids.data()); });
}

Entries pairs(const std::vector<MemoryEntry>& entries) {
  Entries result;
  for (const MemoryEntry& entry : entries) result.emplace_back(entry.name, entry.bytes);
  return result;
}

std::pair<Entries, std::string> plan_and_table(const MemoryPlan& plan) { return {pairs(plan.entries), plan.table()}; }

/// @throws ArgumentError unless the buffer has the bytes and the element size of the tensor of that name
void check_buffer(const Classifier& classifier, const std::string& name, size_t bytes) {
  for (const NamedTensor& tensor : classifier.tensors()) {
    if (tensor.name != name) continue;
    if (tensor.bytes() != bytes)
      throw ArgumentError(name + " holds " + std::to_string(tensor.bytes()) + " bytes, the array " +
                          std::to_string(bytes));
    return;
  }
  throw ArgumentError("there is no tensor named " + name);
}

std::vector<std::tuple<std::string, std::string, std::vector<int64_t>>> tensors(Engine& engine) {
  return engine.call([](Classifier& c) {
    std::vector<std::tuple<std::string, std::string, std::vector<int64_t>>> result;
    for (const NamedTensor& tensor : c.tensors())
      result.emplace_back(tensor.name, dtype_name(tensor.dtype), tensor.shape);
    return result;
  });
}

nb::dict statistics(Engine& engine) {
  const MemoryStatistics s = engine.call([](Classifier& c) { return c.context().pool().statistics(); });
  nb::dict result;
  result["current"] = s.current;
  result["peak"] = s.peak;
  result["reserved"] = s.reserved;
  result["limit"] = s.limit;
  result["allocations"] = s.allocations;
  result["reused"] = s.reused;
  return result;
}

}  // namespace

void bind_classifier(nb::module_& m) {
  nb::class_<RewiringRecord>(m, "RewiringRecord", "What one rewiring did to a segment.")
      .def_ro("step", &RewiringRecord::step)
      .def_ro("segment", &RewiringRecord::segment)
      .def_ro("changed", &RewiringRecord::changed, "Connections replaced; each is group_size weights.")
      .def_ro("score_dropped", &RewiringRecord::score_dropped, "Mean |w| of the dropped connections.")
      .def_ro("score_grown", &RewiringRecord::score_grown, "rigl: mean gradient norm of the grown ones; set: 0.")
      .def("__repr__", [](const RewiringRecord& r) {
        return nb::str("RewiringRecord(step={}, segment={}, changed={}, score_dropped={:g}, score_grown={:g})")
            .format(r.step, r.segment, r.changed, r.score_dropped, r.score_grown);
      });

  m.def(
      "plan", [](const std::string& config) { return plan_and_table(plan(ClassifierConfig::from_json(config))); },
      nb::arg("config"), "Entries (name, bytes) and table of the memory plan.");

  nb::class_<Engine>(m, "Classifier", "The C++ classifier; see sparsexmc.Classifier.")
      .def(
          "__init__",
          [](Engine* self, const std::string& config, std::optional<Numbers> order, std::optional<Numbers> counts) {
            const nb::gil_scoped_release release;
            new (self) Engine(Classifier(ClassifierConfig::from_json(config), order ? order->data() : nullptr,
                                         counts ? counts->data() : nullptr));
          },
          nb::arg("config"), nb::arg("label_order").noconvert().none(), nb::arg("label_counts").noconvert().none())
      .def_static(
          "load",
          [](const std::string& path, const std::string& device, int num_threads) {
            const nb::gil_scoped_release release;
            return new Engine(Classifier::load(path, device, num_threads));
          },
          nb::arg("path"), nb::arg("device"), nb::arg("num_threads"), nb::rv_policy::take_ownership)
      .def(
          "save",
          [](Engine& engine, const std::string& path, const std::vector<std::string>& names, const std::string& card) {
            engine.call([&](Classifier& c) { c.save(path, names, card); });
          },
          nb::arg("path"), nb::arg("label_names"), nb::arg("card"))
      .def("train_step", &train_step, nb::arg("embeddings"), nb::arg("label_indptr").noconvert(),
           nb::arg("label_indices").noconvert(), nb::arg("gradient").none(), nb::arg("skip_nonfinite"),
           "Loss, skipped, rewired; writes `gradient` unless it is None.")
      .def("train_step_sparse", &train_step_sparse, nb::arg("indptr").noconvert(), nb::arg("indices").noconvert(),
           nb::arg("values").noconvert(), nb::arg("cols"), nb::arg("label_indptr").noconvert(),
           nb::arg("label_indices").noconvert(), nb::arg("skip_nonfinite"))
      .def(
          "topk",
          [](Engine& engine, const Tensor& embeddings, const Scores& scores, const Ids& ids) {
            topk(engine, embeddings.matrix(), scores, ids);
          },
          nb::arg("embeddings"), nb::arg("scores").noconvert(), nb::arg("ids").noconvert())
      .def(
          "topk_sparse",
          [](Engine& engine, const Indices& indptr, const Indices& indices, const Values& values, int64_t cols,
             const Scores& scores,
             const Ids& ids) { topk(engine, features_view(indptr, indices, values, cols), scores, ids); },
          nb::arg("indptr").noconvert(), nb::arg("indices").noconvert(), nb::arg("values").noconvert(), nb::arg("cols"),
          nb::arg("scores").noconvert(), nb::arg("ids").noconvert())
      .def_prop_rw(
          "lr", [](Engine& engine) { return engine.call([](Classifier& c) { return c.lr(); }); },
          [](Engine& engine, double lr) { engine.call([=](Classifier& c) { c.set_lr(lr); }); })
      .def_prop_rw(
          "step", [](Engine& engine) { return engine.call([](Classifier& c) { return c.progress().step; }); },
          [](Engine& engine, int64_t step) {
            engine.call([=](Classifier& c) {
              Progress progress = c.progress();
              progress.kept.clear();  // batches of other steps
              progress.step = step;
              c.set_progress(progress);
            });
          })
      .def_prop_ro("skipped",
                   [](Engine& engine) { return engine.call([](Classifier& c) { return c.progress().skipped; }); })
      .def_prop_ro("rewirings",
                   [](Engine& engine) { return engine.call([](Classifier& c) { return c.progress().rewirings; }); })
      .def_prop_ro(
          "device",
          [](Engine& engine) { return engine.call([](Classifier& c) { return c.context().device().name(); }); })
      .def_prop_ro(
          "num_threads",
          [](Engine& engine) { return engine.call([](Classifier& c) { return c.context().threads().num_threads(); }); })
      .def("config_json",
           [](Engine& engine) { return engine.call([](Classifier& c) { return c.config().to_json(); }); })
      .def("tensors", &tensors, "(name, dtype, shape) of every tensor, in checkpoint order.")
      .def(
          "read",
          [](Engine& engine, const std::string& name, nb::ndarray<nb::c_contig, nb::device::cpu> out) {
            engine.call([&](Classifier& c) {
              check_buffer(c, name, out.nbytes());
              c.read(name, out.data());
            });
          },
          nb::arg("name"), nb::arg("out").noconvert())
      .def(
          "write",
          [](Engine& engine, const std::string& name, nb::ndarray<nb::ro, nb::c_contig, nb::device::cpu> data) {
            engine.call([&](Classifier& c) {
              check_buffer(c, name, data.nbytes());
              c.write(name, data.data());
            });
          },
          nb::arg("name"), nb::arg("data").noconvert())
      .def("memory_plan",
           [](Engine& engine) { return engine.call([](Classifier& c) { return plan_and_table(c.memory_plan()); }); })
      .def(
          "memory_entries",
          [](Engine& engine) { return engine.call([](Classifier& c) { return pairs(c.context().pool().entries()); }); })
      .def("memory_statistics", &statistics, nb::sig("def memory_statistics(self) -> dict[str, int]"));
}

}  // namespace sparsexmc::python

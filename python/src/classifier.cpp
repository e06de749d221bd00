// The classifier and its plan. Views are made and checked here; everything else is the engine's.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <tuple>
#include <utility>

#include "averages.h"
#include "bindings.h"
#include "device_array.h"
#include "engine.h"
#include "numpy_array.h"
#include "sparsexmc/classifier.h"
#include "sparsexmc/error.h"
#include "sparsexmc/plan.h"
#include "step.h"
#include "tensor.h"
#include "views.h"

namespace nb = nanobind;

namespace sparsexmc::python {
namespace {

using Numbers = nb::ndarray<const int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Weights = nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Scores = nb::ndarray<float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Ids = nb::ndarray<int64_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Entries = std::vector<std::pair<std::string, size_t>>;

/// Null for None.
template <class Array>
auto data_of(const std::optional<Array>& array) {
  return array ? array->data() : nullptr;
}

/// @throws ArgumentError unless both are [rows, k] @returns k
int64_t check_outputs(const Scores& scores, const Ids& ids, int64_t rows) {
  if (ids.shape(0) != scores.shape(0) || ids.shape(1) != scores.shape(1) || rows != static_cast<int64_t>(ids.shape(0)))
    throw ArgumentError("scores and ids must both be [rows, k]");
  return static_cast<int64_t>(ids.shape(1));
}

/// body(slice, first row) over all of x. What has to be copied is so batch by batch, as the classifier takes it.
template <class Body>
void for_reachable_slices(Classifier& c, const TensorView& x, const Body& body) {
  const int64_t rows = in_reach(c, x) ? std::max<int64_t>(x.rows, 1) : c.config().batch_size;
  for (int64_t first = 0; first < x.rows; first += rows) {
    TensorView slice = x;
    slice.rows = std::min(rows, x.rows - first);
    slice.data = static_cast<char*>(x.data) + static_cast<size_t>(first * x.cols) * dtype_size(x.dtype);
    body(reachable_copy(c, "embeddings", slice).view, first);
  }
}

void check_activations(const Classifier& c, const Scores& out, int64_t rows) {
  if (static_cast<int64_t>(out.shape(0)) != rows || static_cast<int64_t>(out.shape(1)) != c.config().layer_features())
    throw ArgumentError("out must be [n, hidden units]");
}

void topk(Engine& engine, const Tensor& embeddings, const Scores& scores, const Ids& ids,
          const std::optional<Weights>& label_weights, StreamHandle stream) {
  const TensorView x = embeddings.matrix();
  const int64_t k = check_outputs(scores, ids, x.rows);
  engine.call_on(stream, [&](Classifier& c) {
    for_reachable_slices(c, x, [&](const TensorView& slice, int64_t first) {
      c.topk(slice, k, scores.data() + first * k, ids.data() + first * k, data_of(label_weights));
    });
  });
}

void topk_sparse(Engine& engine, const Indices& indptr, const Indices& indices, const Values& values, int64_t cols,
                 const Scores& scores, const Ids& ids, const std::optional<Weights>& label_weights,
                 StreamHandle stream) {
  const CsrView x = features_view(indptr, indices, values, cols);
  const int64_t k = check_outputs(scores, ids, x.rows);
  engine.call_on(stream, [&](Classifier& c) { c.topk(x, k, scores.data(), ids.data(), data_of(label_weights)); });
}

void hidden_activations(Engine& engine, const Tensor& embeddings, const Scores& out, StreamHandle stream) {
  const TensorView x = embeddings.matrix();
  engine.call_on(stream, [&](Classifier& c) {
    check_activations(c, out, x.rows);
    for_reachable_slices(c, x, [&](const TensorView& slice, int64_t first) {
      c.hidden_activations(slice, out.data() + first * static_cast<int64_t>(out.shape(1)));
    });
  });
}

void hidden_activations_sparse(Engine& engine, const Indices& indptr, const Indices& indices, const Values& values,
                               int64_t cols, const Scores& out, StreamHandle stream) {
  const CsrView x = features_view(indptr, indices, values, cols);
  engine.call_on(stream, [&](Classifier& c) {
    check_activations(c, out, x.rows);
    c.hidden_activations(x, out.data());
  });
}

Entries pairs(const std::vector<MemoryEntry>& entries) {
  Entries result;
  for (const MemoryEntry& entry : entries) result.emplace_back(entry.name, entry.bytes);
  return result;
}

std::pair<Entries, std::string> plan_and_table(const MemoryPlan& plan) { return {pairs(plan.entries), plan.table()}; }

/// @returns the dtype of an array, which has as many elements as the tensor of that name
/// @throws ArgumentError, TypeError if it has not
template <class Array>
DType check_array(const Classifier& classifier, const std::string& name, const Array& array) {
  const std::optional<DType> dtype = find_dtype(array.dtype());
  if (!dtype) throw TypeError(name + ": no tensor has the dtype of the array");
  for (const NamedTensor& tensor : classifier.tensors()) {
    if (tensor.name != name) continue;
    if (const size_t count = tensor.bytes() / dtype_size(tensor.dtype); count != array.size())
      throw ArgumentError(name + " holds " + std::to_string(count) + " numbers, the array " +
                          std::to_string(array.size()));
    return *dtype;
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
  nb::class_<RewiringRecord>(m, "RewiringRecord", "The record of a rewiring of a segment.")
      .def_ro("step", &RewiringRecord::step)
      .def_ro("segment", &RewiringRecord::segment)
      .def_ro("changed", &RewiringRecord::changed, "Connections replaced; each is group_size weights.")
      .def_ro("score_dropped", &RewiringRecord::score_dropped,
              "Mean |w| of the dropped ones, times the feature's scale.")
      .def_ro("score_grown", &RewiringRecord::score_grown, "rigl: mean gradient norm of the grown ones; set: 0.")
      .def("__repr__", [](const RewiringRecord& r) {
        return nb::str("RewiringRecord(step={}, segment={}, changed={}, score_dropped={:g}, score_grown={:g})")
            .format(r.step, r.segment, r.changed, r.score_dropped, r.score_grown);
      });

  m.def(
      "plan", [](const std::string& config) { return plan_and_table(plan(ClassifierConfig::from_json(config))); },
      nb::arg("config"), "Entries (name, bytes) and table of the memory plan.");
  m.def("loss_names", &loss_names, "Losses that a configuration may name.");

  m.def(
      "schedule_for_total_steps",
      [](int64_t warmup_steps, int64_t steps) {
        return Schedule{ScheduleKind::linear, warmup_steps}.for_total_steps(steps).total_steps;
      },
      nb::arg("warmup_steps"), nb::arg("steps"), "The total_steps of a schedule that leaves them open.");
  m.def(
      "rewiring_for_total_steps",
      [](int64_t interval, int64_t start, int64_t stop, int64_t steps) {
        const Rewiring r = Rewiring{.interval = interval, .start = start, .stop = stop}.for_total_steps(steps);
        return std::pair(r.interval, r.stop);
      },
      nb::arg("interval"), nb::arg("start"), nb::arg("stop"), nb::arg("steps"),
      "(interval, stop) of a rewiring for a training of so many steps; 0 leaves one open.");

  nb::class_<StepResult>(m, "StepResult", "The outcome of a step; see sparsexmc.StepResult.")
      .def_ro("loss", &StepResult::loss)
      .def_ro("auxiliary_loss", &StepResult::auxiliary_loss)
      .def_ro("skipped", &StepResult::skipped)
      .def_ro("rewired", &StepResult::rewired);

  nb::class_<Step>(m, "Step", "A training step, which may still run.")
      .def("result", &Step::result, "Waits for the step. NaN or Inf in the batch raises here.");

  nb::class_<Engine> bound(m, "Classifier", nb::is_weak_referenceable(),
                           "The C++ classifier; see sparsexmc.Classifier.");
  bind_averages(bound);
  bound
      .def("begin_fork", &Engine::begin_fork, nb::arg("seconds"),
           "Whether no call of another thread runs until end_fork().")
      .def("end_fork", &Engine::end_fork)
      .def(
          "__init__",
          [](Engine* self, const std::string& config, std::optional<Numbers> order, std::optional<Numbers> counts,
             std::optional<Weights> bias, std::optional<Weights> positive_weights, std::optional<Numbers> clusters) {
            const WithoutGil released;
            const LabelData labels{data_of(order), data_of(counts), data_of(bias), data_of(positive_weights),
                                   data_of(clusters)};
            new (self) Engine(Classifier(ClassifierConfig::from_json(config), labels));
          },
          nb::arg("config"), nb::arg("label_order").noconvert().none(), nb::arg("label_counts").noconvert().none(),
          nb::arg("initial_bias").noconvert().none(), nb::arg("positive_weights").noconvert().none(),
          nb::arg("clusters").noconvert().none(), "Arrays hold one number per label.")
      .def(
          "save",
          [](Engine& engine, const std::string& path, const std::vector<std::string>& names, const std::string& card) {
            engine.call([&](Classifier& c) { c.save(path, names, card); });
          },
          nb::arg("path"), nb::arg("label_names"), nb::arg("card"))
      .def("start_step", &start_step, nb::arg("embeddings"), nb::arg("label_indptr").noconvert(),
           nb::arg("label_indices").noconvert(), nb::arg("instance_weights").noconvert().none(),
           nb::arg("gradient").none(), nb::arg("skip_nonfinite"), nb::arg("stream"), nb::arg("caller_stream").none(),
           "Runs on `stream`; `caller_stream` waits for the gradient. Zeros in it: the batch was skipped.")
      .def("eval_step", &eval_step, nb::arg("embeddings"), nb::arg("label_indptr").noconvert(),
           nb::arg("label_indices").noconvert(), nb::arg("instance_weights").noconvert().none(),
           nb::arg("gradient").none(), nb::arg("skip_nonfinite"), nb::arg("dropout"), nb::arg("stream"),
           "Updates nothing, and has run when it returns.")
      .def("start_sparse_step", &start_sparse_step, nb::arg("indptr").noconvert(), nb::arg("indices").noconvert(),
           nb::arg("values").noconvert(), nb::arg("cols"), nb::arg("label_indptr").noconvert(),
           nb::arg("label_indices").noconvert(), nb::arg("instance_weights").noconvert().none(),
           nb::arg("skip_nonfinite"), nb::arg("stream"))
      .def("topk", &topk, nb::arg("embeddings"), nb::arg("scores").noconvert(), nb::arg("ids").noconvert(),
           nb::arg("label_weights").noconvert().none(), nb::arg("stream"))
      .def("topk_sparse", &topk_sparse, nb::arg("indptr").noconvert(), nb::arg("indices").noconvert(),
           nb::arg("values").noconvert(), nb::arg("cols"), nb::arg("scores").noconvert(), nb::arg("ids").noconvert(),
           nb::arg("label_weights").noconvert().none(), nb::arg("stream"))
      .def("hidden_activations", &hidden_activations, nb::arg("embeddings"), nb::arg("out").noconvert(),
           nb::arg("stream"))
      .def("hidden_activations_sparse", &hidden_activations_sparse, nb::arg("indptr").noconvert(),
           nb::arg("indices").noconvert(), nb::arg("values").noconvert(), nb::arg("cols"), nb::arg("out").noconvert(),
           nb::arg("stream"))
      .def(
          "device_array",
          [](Engine& engine, const std::string& name, int64_t rows, int64_t cols, const std::string& dtype) {
            return DeviceArray(engine, name, rows, cols, dtype);
          },
          nb::arg("name"), nb::arg("rows"), nb::arg("cols"), nb::arg("dtype"), nb::keep_alive<0, 1>(),
          "Uninitialised memory from the pool, for a model on a GPU.")
      .def_prop_ro(
          "own_stream",
          [](Engine& engine) {
            return engine.call(
                [](Classifier& c) { return reinterpret_cast<StreamHandle>(c.context().own_stream().handle); });
          },
          "Handle of the engine's own stream; 0 on the CPU.")
      .def_prop_rw(
          "lr", [](Engine& engine) { return engine.call([](Classifier& c) { return c.lr(); }); },
          [](Engine& engine, double lr) { engine.call([=](Classifier& c) { c.set_lr(lr); }); })
      .def_prop_rw(
          "momentum", [](Engine& engine) { return engine.call([](Classifier& c) { return c.momentum(); }); },
          [](Engine& engine, double momentum) { engine.call([=](Classifier& c) { c.set_momentum(momentum); }); })
      .def_prop_rw(
          "total_steps",
          [](Engine& engine) { return engine.call([](Classifier& c) { return c.progress().total_steps; }); },
          [](Engine& engine, int64_t steps) { engine.call([=](Classifier& c) { c.set_total_steps(steps); }); })
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
      .def(
          "make_room_for_kept",
          [](Engine& engine, const std::vector<std::tuple<int64_t, int64_t, bool>>& sizes) {
            engine.call([&](Classifier& c) {
              Progress progress = c.progress();
              progress.kept.clear();
              for (const auto& [batch, positives, weighted] : sizes)
                progress.kept.push_back({batch, positives, weighted});
              c.set_progress(progress);
            });
          },
          nb::arg("sizes"),
          "(instances, positives, whether these have weights) of each kept batch, whose tensors are to be written "
          "next.")
      .def_prop_ro("trainable", [](Engine& engine) { return engine.call([](Classifier& c) { return c.trainable(); }); })
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
              const DType dtype = check_array(c, name, out);
              c.read(name, out.data(), dtype);
            });
          },
          nb::arg("name"), nb::arg("out").noconvert())
      .def(
          "write",
          [](Engine& engine, const std::string& name, nb::ndarray<nb::ro, nb::c_contig, nb::device::cpu> data) {
            engine.call([&](Classifier& c) {
              const DType dtype = check_array(c, name, data);
              c.write(name, data.data(), dtype);
            });
          },
          nb::arg("name"), nb::arg("data").noconvert())
      .def(
          "regroup",
          [](Engine& engine, const Numbers& order) { engine.call([&](Classifier& c) { c.regroup(order.data()); }); },
          nb::arg("label_order").noconvert())
      .def(
          "order_by_weights",
          [](Engine& engine, uint64_t seed) {
            return to_numpy(engine.call([=](Classifier& c) { return c.order_by_weights(seed); }));
          },
          nb::arg("seed"), "Label ids in an internal order for regroup().")
      .def("memory_plan",
           [](Engine& engine) { return engine.call([](Classifier& c) { return plan_and_table(c.memory_plan()); }); })
      .def(
          "memory_entries",
          [](Engine& engine) { return engine.call([](Classifier& c) { return pairs(c.context().pool().entries()); }); })
      .def("memory_statistics", &statistics, nb::sig("def memory_statistics(self) -> dict[str, int]"));
}

}  // namespace sparsexmc::python

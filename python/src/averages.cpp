#include "averages.h"

#include <nanobind/stl/string.h>

#include <string>

#include "sparsexmc/classifier.h"

namespace nb = nanobind;

namespace sparsexmc::python {

void bind_averages(nb::class_<Engine>& bound) {
  bound
      .def(
          "start_average",
          [](Engine& engine, const std::string& config) {
            const WeightAverage average = ClassifierConfig::from_json(config).average.value();
            engine.call([&](Classifier& c) { c.start_average(average); });
          },
          nb::arg("config"), "The average is that of a whole configuration.")
      .def(
          "stop_average", [](Engine& engine, bool keep) { engine.call([=](Classifier& c) { c.stop_average(keep); }); },
          nb::arg("keep"))
      .def(
          "use_average", [](Engine& engine, bool use) { engine.call([=](Classifier& c) { c.use_average(use); }); },
          nb::arg("use"))
      .def_prop_ro(
          "average_in_use",
          [](Engine& engine) { return engine.call([](Classifier& c) { return c.progress().average_in_use; }); })
      .def_prop_ro(
          "averaged", [](Engine& engine) { return engine.call([](Classifier& c) { return c.progress().averaged; }); },
          "Number of updates of the running averages.")
      .def(
          "set_averaged",
          [](Engine& engine, int64_t averaged, bool in_use) {
            engine.call([=](Classifier& c) {
              Progress progress = c.progress();
              progress.kept.clear();
              progress.averaged = averaged;
              progress.average_in_use = in_use;
              c.set_progress(progress);
            });
          },
          nb::arg("averaged"), nb::arg("in_use"), "For a state whose tensors are to be written next.");
}

}  // namespace sparsexmc::python

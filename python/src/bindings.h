// The parts of the Python module; one function per file.
#pragma once

#include <nanobind/nanobind.h>

namespace sparsexmc::python {

void bind_errors(nanobind::module_& m);
void bind_tensor(nanobind::module_& m);
void bind_device_array(nanobind::module_& m);
void bind_classifier(nanobind::module_& m);
void bind_cluster_labels(nanobind::module_& m);
void bind_linear(nanobind::module_& m);
void bind_metrics(nanobind::module_& m);
void bind_neighbors(nanobind::module_& m);
void bind_data(nanobind::module_& m);
void bind_checkpoint(nanobind::module_& m);

}  // namespace sparsexmc::python

// Running averages of a classifier's weights: methods of its class in Python.
#pragma once

#include <nanobind/nanobind.h>

#include "engine.h"

namespace sparsexmc::python {

void bind_averages(nanobind::class_<Engine>& bound);

}  // namespace sparsexmc::python

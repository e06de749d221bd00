// The Python module sparsexmc._core: the C++ library as it is; the friendly side is written in Python.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>

#include "bindings.h"
#include "sparsexmc/device.h"
#include "sparsexmc/thread_pool.h"

namespace nb = nanobind;

NB_MODULE(_core, m) {
  nb::set_leak_warnings(false);  // a daemon thread in a call keeps its objects at exit, which is nobody's mistake
  m.doc() = "The C++ engine of sparsexmc. Internal: use the package sparsexmc instead.";
  m.def("version", [] { return SPARSEXMC_VERSION; }, "Version of the library, e.g. \"0.1.0\".");
  m.def("cpu_level", &sparsexmc::cpu_level,
        "Instruction set that the kernels use on this CPU, e.g. \"x86-64-v3 (AVX2)\".");
  m.def("cpu_matrix_units", &sparsexmc::cpu_matrix_units,
        "Do the kernels use matrix units of this CPU (AMX)? Then products of bfloat16 are faster than of float32.");
  m.def(
      "default_num_threads", [] { return sparsexmc::ThreadPool().num_threads(); },
      "Worker threads where none are asked for: SPARSEXMC_NUM_THREADS, OMP_NUM_THREADS, or the CPUs of the process.");
  m.def(
      "cuda_backend", [] { return SPARSEXMC_CUDA_BACKEND; },
      "CUDA in this build: \"none\", \"cuda\", or \"shim\", whose kernels run on the CPU (for tests).");
  m.def("cuda_unavailable_reason", &sparsexmc::cuda_unavailable_reason,
        "Why CUDA cannot be used here, in one line; empty if it can.");
  m.def("cuda_kernel_image", &sparsexmc::cuda_kernel_image, nb::arg("index"),
        "The image that card `index` runs: \"sm_90\" for machine code, \"compute_90\" for PTX that the driver compiles "
        "at first use; empty if it runs none.");
  sparsexmc::python::bind_errors(m);
  sparsexmc::python::bind_tensor(m);
  sparsexmc::python::bind_device_array(m);
  sparsexmc::python::bind_classifier(m);
  sparsexmc::python::bind_cluster_labels(m);
  sparsexmc::python::bind_linear(m);
  sparsexmc::python::bind_metrics(m);
  sparsexmc::python::bind_neighbors(m);
  sparsexmc::python::bind_data(m);
  sparsexmc::python::bind_checkpoint(m);
}

// Text that a C++ reader takes from Python: a path, or a stream such as one that is unpacked on the way.
#pragma once

#include <nanobind/nanobind.h>

#include <cstddef>
#include <memory>
#include <string>

#include "gil.h"
#include "sparsexmc/error.h"
#include "sparsexmc/text_source.h"

namespace sparsexmc::python {

/// Called with the GIL; the source may be read without it, but has to end with it.
inline TextSource text_source(const nanobind::object& source) {
  namespace nb = nanobind;
  if (nb::isinstance<nb::str>(source)) return TextSource(nb::cast<std::string>(source));
  const std::string name = nb::cast<std::string>(nb::str(source.attr("name")));
  // Owned by the caller's frame too, so that copies inside the reader need no GIL to vanish.
  PyObject* stream = source.ptr();
  return TextSource(name, [stream](char* block, size_t size) -> size_t {
    const WithGil held;
    const nb::object view = nb::steal(PyMemoryView_FromMemory(block, static_cast<Py_ssize_t>(size), PyBUF_WRITE));
    if (!view.is_valid()) throw nb::python_error();
    const nb::object got = nb::borrow(stream).attr("readinto")(view);
    view.attr("release")();  // the block does not outlive the call
    const auto count = nb::cast<int64_t>(got);
    if (count < 0 || count > static_cast<int64_t>(size)) throw Error("readinto returned an impossible number of bytes");
    return static_cast<size_t>(count);
  });
}

}  // namespace sparsexmc::python

// Exception classes, and the translation of C++ exceptions into them.
#include <nanobind/nanobind.h>

#include <string>

#include "bindings.h"
#include "sparsexmc/error.h"

namespace nb = nanobind;

namespace sparsexmc::python {
namespace {

struct ErrorTypes {
  PyObject* error;
  PyObject* argument;
  PyObject* divergence;
  PyObject* dtype;
  PyObject* memory_plan;
  PyObject* device;
  PyObject* data;
  PyObject* checkpoint;
};

/// A new class that derives from both bases, so that `except ValueError` and the like work too. The module keeps it.
PyObject* make_type(nb::module_& m, const char* name, const char* doc, PyObject* base, PyObject* builtin) {
  const nb::tuple bases =
      builtin ? nb::make_tuple(nb::handle(base), nb::handle(builtin)) : nb::make_tuple(nb::handle(base));
  const std::string qualified = std::string("sparsexmc._core.") + name;
  PyObject* type = PyErr_NewExceptionWithDoc(qualified.c_str(), doc, bases.ptr(), nullptr);
  if (!type) nb::raise_python_error();
  m.attr(name) = nb::handle(type);
  return type;  // the reference stays with ErrorTypes
}

void translate(const std::exception_ptr& pointer, void* payload) {
  const auto& types = *static_cast<const ErrorTypes*>(payload);
  try {
    std::rethrow_exception(pointer);
  } catch (const DivergenceError& e) {
    PyErr_SetString(types.divergence, e.what());
  } catch (const ArgumentError& e) {
    PyErr_SetString(types.argument, e.what());
  } catch (const TypeError& e) {
    PyErr_SetString(types.dtype, e.what());
  } catch (const MemoryPlanError& e) {
    PyErr_SetString(types.memory_plan, e.what());
  } catch (const DeviceError& e) {
    PyErr_SetString(types.device, e.what());
  } catch (const DataError& e) {
    PyErr_SetString(types.data, e.what());
  } catch (const CheckpointError& e) {
    PyErr_SetString(types.checkpoint, e.what());
  } catch (const Error& e) {
    PyErr_SetString(types.error, e.what());
  }
}

}  // namespace

void bind_errors(nb::module_& m) {
  auto* types = new ErrorTypes;  // lives as long as the interpreter, like the translator that reads it
  types->error = make_type(m, "Error", "Base of all errors of sparsexmc.", PyExc_Exception, nullptr);
  types->argument = make_type(m, "ArgumentError", "An argument has the wrong value, shape, layout or device.",
                              types->error, PyExc_ValueError);
  types->divergence = make_type(m, "DivergenceError",
                                "A training has diverged: the loss of a batch of finite numbers is NaN or Inf, and the "
                                "weights are lost. Load the last good checkpoint, lower lr, or scale the inputs.",
                                types->argument, nullptr);
  types->dtype = make_type(m, "DTypeError", "An argument has the wrong dtype or kind.", types->error, PyExc_TypeError);
  types->memory_plan =
      make_type(m, "MemoryPlanError", "The planned bytes exceed the memory limit.", types->error, PyExc_MemoryError);
  types->device =
      make_type(m, "DeviceError", "A device is missing, unusable or failed.", types->error, PyExc_RuntimeError);
  types->data = make_type(m, "DataError", "A data file is malformed; the message begins with \"file:line: \".",
                          types->error, PyExc_ValueError);
  types->checkpoint =
      make_type(m, "CheckpointError", "A checkpoint is missing, truncated, edited, foreign, or cannot be written.",
                types->error, PyExc_RuntimeError);
  nb::register_exception_translator(translate, types);
}

}  // namespace sparsexmc::python

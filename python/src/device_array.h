// Memory of a model's GPU that is handed to other libraries.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <string>

#include "engine.h"

namespace sparsexmc::python {

/// A matrix from the pool of a classifier, which must outlive it. Of what the classifier has queued at the moment of an
/// export, whoever takes it sees everything.
class DeviceArray {
 public:
  DeviceArray(Engine& engine, const std::string& name, int64_t rows, int64_t cols, const std::string& dtype);

  /// A DLPack capsule over this memory, which holds `self`.
  /// @param consumer the taker's stream as DLPack counts them, which waits for us now, and we for it when the capsule
  ///        goes; -1: nobody waits
  static nanobind::ndarray<> capsule(nanobind::handle_t<DeviceArray> self, int64_t consumer);

 private:
  Engine* engine_;
  Allocation memory_;
  Device device_;
  int64_t rows_, cols_;
  nanobind::dlpack::dtype dtype_;
};

}  // namespace sparsexmc::python

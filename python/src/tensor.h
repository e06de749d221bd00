// Arrays of other libraries, held while the engine reads or writes them.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <optional>
#include <string>

#include "sparsexmc/tensor_view.h"

namespace sparsexmc::python {

std::optional<DType> find_dtype(nanobind::dlpack::dtype dtype);
/// @throws TypeError for a name that no DType has
nanobind::dlpack::dtype parse_dtype(const std::string& name);

/// A borrowed array of any dtype, shape, layout and device; Python checks it, with messages that fit its library.
class Tensor {
 public:
  /// @param dtype reads the elements as this dtype of the same size, for arrays whose library has no name for it
  Tensor(nanobind::ndarray<nanobind::ro> array, const std::optional<std::string>& dtype);

  nanobind::tuple shape() const;
  /// In elements.
  nanobind::tuple strides() const;
  /// E.g. "float32", also for dtypes that the engine does not know.
  std::string dtype_name() const;
  bool is_contiguous() const;

  /// @throws ArgumentError, TypeError unless it is a C-contiguous matrix of a DType in host memory or on a GPU
  TensorView matrix() const;

 private:
  nanobind::ndarray<nanobind::ro> array_;
  nanobind::dlpack::dtype dtype_;
};

}  // namespace sparsexmc::python

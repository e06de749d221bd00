// Results as NumPy arrays.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <memory>
#include <utility>
#include <vector>

namespace sparsexmc::python {

template <class T>
using NumPyArray = nanobind::ndarray<nanobind::numpy, T, nanobind::ndim<1>>;

/// Hands a vector over to NumPy without copying its elements.
template <class T>
NumPyArray<T> to_numpy(std::vector<T>&& values) {
  auto owned = std::make_unique<std::vector<T>>(std::move(values));
  T* data = owned->data();
  const size_t size = owned->size();
  const nanobind::capsule owner(owned.get(),
                                [](void* vector) noexcept { delete static_cast<std::vector<T>*>(vector); });
  owned.release();  // the capsule has it now
  return NumPyArray<T>(data, {size}, owner);
}

}  // namespace sparsexmc::python

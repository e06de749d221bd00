// Arrays in and out by DLPack. Reading the capsule is done here, saying what is wrong with it in Python.
#include "tensor.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <array>
#include <new>
#include <string_view>
#include <utility>
#include <vector>

#include "bindings.h"
#include "sparsexmc/error.h"

namespace nb = nanobind;

namespace sparsexmc::python {
namespace {

using Code = nb::dlpack::dtype_code;

constexpr nb::dlpack::dtype make_dtype(Code code, uint8_t bits) { return {static_cast<uint8_t>(code), bits, 1}; }

/// In the order of DType.
constexpr std::array<nb::dlpack::dtype, 8> dtypes = {
    make_dtype(Code::Float, 32), make_dtype(Code::Float, 16), make_dtype(Code::Bfloat, 16), make_dtype(Code::UInt, 8),
    make_dtype(Code::UInt, 16),  make_dtype(Code::UInt, 32),  make_dtype(Code::Int, 32),    make_dtype(Code::Int, 64)};

std::optional<Device> find_device(int device_type, int index) {
  if (device_type == nb::device::cpu::value || device_type == nb::device::cuda_host::value) return Device{};
  if (device_type == nb::device::cuda::value || device_type == nb::device::cuda_managed::value)
    return Device{DeviceKind::cuda, index};
  return std::nullopt;
}

/// The beginning of every DLManagedTensorVersioned; the rest may change with the major version.
struct VersionedHead {
  uint32_t major;
  uint32_t minor;
};

/// Refuses capsules that are not for taking. nanobind would only speak of an incompatible argument, and takes those of
/// a major version that it does not know.
void check_capsule(nb::handle object) {
  static constexpr const char* versioned = "dltensor_versioned";
  if (!PyCapsule_CheckExact(object.ptr()) || PyCapsule_IsValid(object.ptr(), "dltensor")) return;
  const char* name = PyCapsule_GetName(object.ptr());
  const std::string_view known = name ? name : "";
  if (known.starts_with("used_dltensor"))
    throw ArgumentError("its DLPack capsule was taken over before; __dlpack__ must make a new one in every call");
  if (known != versioned) throw TypeError("its __dlpack__ gave a capsule '" + std::string(known) + "', not a dltensor");
  const auto* head = static_cast<const VersionedHead*>(PyCapsule_GetPointer(object.ptr(), versioned));
  if (head->major > 1)
    throw ArgumentError("its library exports DLPack " + std::to_string(head->major) + "." +
                        std::to_string(head->minor) + "; what is known here ends with version 1");
}

/// @param array a NumPy array or a capsule, which is taken over
Tensor make_tensor(nb::handle array, const std::optional<std::string>& dtype) {
  check_capsule(array);
  nb::ndarray<nb::ro> borrowed;
  if (!nb::try_cast(array, borrowed, false))
    throw TypeError("neither an array nor a DLPack capsule, but " + nb::cast<std::string>(nb::repr(array.type())));
  return {std::move(borrowed), dtype};
}

/// A capsule over `storage`, whose elements may be the bits of another dtype. Unversioned: every consumer takes those.
nb::ndarray<> dlpack_capsule(const nb::ndarray<nb::device::cpu, nb::c_contig>& storage, const std::string& dtype) {
  const nb::dlpack::dtype element = parse_dtype(dtype);
  if (element.bits != storage.dtype().bits) throw TypeError("storage has another element size than dtype=" + dtype);
  std::vector<size_t> shape(storage.ndim());
  for (size_t i = 0; i < shape.size(); ++i) shape[i] = storage.shape(i);
  return nb::ndarray<>(storage.data(), shape.size(), shape.data(), nb::find(storage), nullptr, element);
}

}  // namespace

std::optional<DType> find_dtype(nb::dlpack::dtype dtype) {
  for (size_t i = 0; i < dtypes.size(); ++i)
    if (dtypes[i] == dtype) return static_cast<DType>(i);
  return std::nullopt;
}

nb::dlpack::dtype parse_dtype(const std::string& name) {
  for (size_t i = 0; i < dtypes.size(); ++i)
    if (name == dtype_name(static_cast<DType>(i))) return dtypes[i];
  throw TypeError("dtype=" + name + " is not known to the engine");
}

Tensor::Tensor(nb::ndarray<nb::ro> array, const std::optional<std::string>& dtype)
    : array_(std::move(array)), dtype_(array_.dtype()) {
  if (!dtype) return;
  const nb::dlpack::dtype element = parse_dtype(*dtype);
  if (element.bits != dtype_.bits) throw TypeError("array has another element size than dtype=" + *dtype);
  dtype_ = element;
}

std::string Tensor::dtype_name() const {
  std::string name;
  switch (static_cast<Code>(dtype_.code)) {
    case Code::Int:
      name = "int";
      break;
    case Code::UInt:
      name = "uint";
      break;
    case Code::Float:
      name = "float";
      break;
    case Code::Bfloat:
      name = "bfloat";
      break;
    case Code::Complex:
      name = "complex";
      break;
    case Code::Bool:
      return "bool";
    default:
      return "dlpack code " + std::to_string(dtype_.code);
  }
  name += std::to_string(dtype_.bits);
  return dtype_.lanes == 1 ? name : name + "x" + std::to_string(dtype_.lanes);
}

bool Tensor::is_contiguous() const {
  int64_t expected = 1;
  for (size_t i = array_.ndim(); i-- > 0;) {
    if (array_.shape(i) != 1 && array_.stride(i) != expected && array_.size() != 0) return false;
    expected *= static_cast<int64_t>(array_.shape(i));
  }
  return true;
}

nb::tuple Tensor::shape() const {
  nb::list numbers;
  for (size_t i = 0; i < array_.ndim(); ++i) numbers.append(array_.shape(i));
  return nb::tuple(numbers);
}

nb::tuple Tensor::strides() const {
  nb::list numbers;
  for (size_t i = 0; i < array_.ndim(); ++i) numbers.append(array_.stride(i));
  return nb::tuple(numbers);
}

TensorView Tensor::matrix() const {
  const std::optional<DType> dtype = find_dtype(dtype_);
  if (!dtype) throw TypeError("dtype " + dtype_name() + " is not known to the engine");
  if (array_.ndim() != 2 || !is_contiguous()) throw ArgumentError("the array is not a C-contiguous matrix");
  const std::optional<Device> device = find_device(array_.device_type(), array_.device_id());
  if (!device) throw ArgumentError("the array is neither in host memory nor on a GPU of CUDA");
  return {const_cast<void*>(array_.data()), static_cast<int64_t>(array_.shape(0)),
          static_cast<int64_t>(array_.shape(1)), *dtype, *device};
}

void bind_tensor(nb::module_& m) {
  nb::class_<Tensor>(m, "Tensor", "An array of another library, borrowed until this object goes.")
      .def(
          "__init__",
          [](Tensor* self, nb::handle array, const std::optional<std::string>& dtype) {
            new (self) Tensor(make_tensor(array, dtype));
          },
          nb::arg("array").none(), nb::arg("dtype") = nb::none(),
          nb::sig("def __init__(self, array: object, dtype: str | None = None) -> None"),
          "array: a NumPy array or a DLPack capsule, which this takes over; dtype: reads the elements as this one of "
          "the same size.")
      .def_prop_ro("shape", &Tensor::shape, nb::sig("def shape(self) -> tuple[int, ...]"))
      .def_prop_ro("strides", &Tensor::strides, nb::sig("def strides(self) -> tuple[int, ...]"), "In elements.")
      .def_prop_ro("dtype", &Tensor::dtype_name)
      .def_prop_ro("contiguous", &Tensor::is_contiguous, "Is it C-contiguous?");
  m.def("dlpack_capsule", &dlpack_capsule, nb::arg("storage").noconvert(), nb::arg("dtype"),
        nb::sig("def dlpack_capsule(storage: object, dtype: str) -> typing.Any"),
        "A DLPack capsule over the memory of `storage`, its elements read as `dtype`; it keeps the memory alive.");
}

}  // namespace sparsexmc::python

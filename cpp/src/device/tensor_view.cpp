#include "sparsexmc/tensor_view.h"

#include "sparsexmc/error.h"

namespace sparsexmc {

size_t dtype_size(DType dtype) {
  switch (dtype) {
    case DType::uint8:
      return 1;
    case DType::float16:
    case DType::bfloat16:
    case DType::uint16:
      return 2;
    case DType::float32:
    case DType::uint32:
    case DType::int32:
      return 4;
    case DType::int64:
      return 8;
  }
  throw TypeError("dtype is the number " + std::to_string(static_cast<int>(dtype)) + ", which names no type");
}

const char* dtype_name(DType dtype) {
  switch (dtype) {
    case DType::float32:
      return "float32";
    case DType::float16:
      return "float16";
    case DType::bfloat16:
      return "bfloat16";
    case DType::uint8:
      return "uint8";
    case DType::uint16:
      return "uint16";
    case DType::uint32:
      return "uint32";
    case DType::int32:
      return "int32";
    case DType::int64:
      return "int64";
  }
  throw TypeError("dtype is the number " + std::to_string(static_cast<int>(dtype)) + ", which names no type");
}

}  // namespace sparsexmc

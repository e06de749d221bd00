// bfloat16 as a number of the host, and the choice between the dtypes that weights and inputs are stored in.
#pragma once

#include <utility>

#include "float16.h"
#include "sparsexmc/tensor_view.h"

namespace sparsexmc {

struct Bfloat16 {
  uint16_t bits;

  Bfloat16() = default;
  explicit Bfloat16(float x) : bits(to_bfloat16(x)) {}
  explicit operator float() const { return from_bfloat16(bits); }
};

/// body(T{}) with T the type of `dtype`: float32, or bfloat16.
template <class Body>
void visit_stored(DType dtype, Body&& body) {
  if (dtype == DType::bfloat16)
    std::forward<Body>(body)(Bfloat16{});
  else
    std::forward<Body>(body)(float{});
}

}  // namespace sparsexmc

// The arithmetic of formulas.h on a GPU: one number per thread.
#pragma once

#include "device_compat.h"
#include "formulas.h"

namespace sparsexmc::cuda {

/// @tparam exact exponential and division as on the CPU instead of their fast forms
template <bool exact>
struct DeviceMath {
  using Number = float;

  static SPARSEXMC_DEVICE float larger(float a, float b) { return a > b ? a : b; }
  static SPARSEXMC_DEVICE float negative_abs(float x) { return -fabsf(x); }
  static SPARSEXMC_DEVICE float exp_nonpositive(float x) { return exact ? expf(x) : fast_exp(x); }
  static SPARSEXMC_DEVICE float reciprocal(float x) { return exact ? 1.0f / x : fast_reciprocal(x); }
  static SPARSEXMC_DEVICE float square_root(float x) { return sqrtf(x); }
  static SPARSEXMC_DEVICE float log1p_nonnegative(float x) { return log1pf(x); }
  static SPARSEXMC_DEVICE float sum(float x) { return x; }
};
using ExactMath = DeviceMath<true>;
using FastMath = DeviceMath<false>;

}  // namespace sparsexmc::cuda

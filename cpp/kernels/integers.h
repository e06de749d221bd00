// Whole-number helpers for host and device, and how a function for both is declared.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define SPARSEXMC_HD __host__ __device__ __forceinline__
#else
// Always inlined: files compiled for different instruction sets must not share an out-of-line copy.
#define SPARSEXMC_HD inline __attribute__((always_inline))
#endif

namespace sparsexmc {

SPARSEXMC_HD int64_t round_up(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }
SPARSEXMC_HD int64_t ceil_div(int64_t n, int64_t d) { return (n + d - 1) / d; }
template <class T>
SPARSEXMC_HD T smaller(T a, T b) {
  return b < a ? b : a;
}
template <class T>
SPARSEXMC_HD T larger(T a, T b) {
  return a < b ? b : a;
}

}  // namespace sparsexmc

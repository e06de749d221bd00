// The part of CUDA's device language that the kernels use, under its own names. Semantics: CUDA C++ Programming Guide.
#pragma once

#include <math.h>

#include <atomic>
#include <bit>
#include <cstdint>
#include <cstring>

#include "machine.h"

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
};

extern constinit thread_local dim3 threadIdx, blockIdx, blockDim, gridDim;
inline constexpr int warpSize = 32;

struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) int2 {
  int x, y;
};
struct alignas(16) int4 {
  int x, y, z, w;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline int2 make_int2(int x, int y) { return {x, y}; }
inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

inline void __syncthreads() { sparsexmc::shim::block_barrier(); }
inline void __syncwarp(unsigned mask = ~0u) { sparsexmc::shim::warp_barrier(mask); }
/// Full fence. TSan knows no fences; order between all fences stands in, which finds fewer races but invents none.
void __threadfence();
inline void __threadfence_block() { __threadfence(); }

namespace sparsexmc::shim {

template <class T>
struct Shuffle {
  T value;
  int source;
  T result;
};

/// The value of a lane that does not take part is undefined in CUDA: all ones (NaN) here.
template <class T>
SPARSEXMC_SHIM_HARNESS void combine_shuffle(void* const* arguments, uint32_t mask) {
  for (uint32_t left = mask; left; left &= left - 1) {
    Shuffle<T>& mine = *static_cast<Shuffle<T>*>(arguments[__builtin_ctz(left)]);
    if (mask >> mine.source & 1) {
      mine.result = static_cast<const Shuffle<T>*>(arguments[mine.source])->value;
    } else {
      __builtin_memset(&mine.result, 0xFF, sizeof(T));
    }
  }
}

template <class T>
T shuffle(unsigned mask, T value, int source, const char* operation) {
  Shuffle<T> mine{value, source, value};
  warp_collective(mask, combine_shuffle<T>, &mine, operation);
  return mine.result;
}

/// Bit l: the predicate of lane l.
unsigned ballot(unsigned mask, bool predicate, const char* operation);

inline int lane_index() { return static_cast<int>(threadIdx.x % warp_lanes); }

template <class T>
T fetch_add(T* address, T value) {
  return std::atomic_ref<T>(*address).fetch_add(value, std::memory_order_relaxed);
}
template <class T, class Choose>
T fetch_choose(T* address, Choose choose) {
  std::atomic_ref<T> place(*address);
  T old = place.load(std::memory_order_relaxed);
  while (!place.compare_exchange_weak(old, choose(old), std::memory_order_relaxed)) {
  }
  return old;
}
template <class T>
T fetch_max(T* address, T value) {
  return fetch_choose(address, [value](T old) { return old < value ? value : old; });
}
template <class T>
T fetch_min(T* address, T value) {
  return fetch_choose(address, [value](T old) { return value < old ? value : old; });
}
template <class T>
T compare_and_swap(T* address, T compare, T value) {
  std::atomic_ref<T>(*address).compare_exchange_strong(compare, value, std::memory_order_relaxed);
  return compare;
}

}  // namespace sparsexmc::shim

// CUDA has overloads for these types only; whatever compiles here must compile there.
#define SPARSEXMC_SHIM_SHUFFLES(T)                                                                 \
  inline T __shfl_sync(unsigned mask, T value, int source) {                                       \
    return sparsexmc::shim::shuffle(mask, value, source & 31, "__shfl_sync");                      \
  }                                                                                                \
  inline T __shfl_xor_sync(unsigned mask, T value, int lanes) {                                    \
    const int source = sparsexmc::shim::lane_index() ^ lanes;                                      \
    return sparsexmc::shim::shuffle(mask, value, source & 31, "__shfl_xor_sync");                  \
  }                                                                                                \
  inline T __shfl_down_sync(unsigned mask, T value, unsigned delta) {                              \
    const int lane = sparsexmc::shim::lane_index(), source = lane + static_cast<int>(delta);       \
    return sparsexmc::shim::shuffle(mask, value, source < 32 ? source : lane, "__shfl_down_sync"); \
  }                                                                                                \
  inline T __shfl_up_sync(unsigned mask, T value, unsigned delta) {                                \
    const int lane = sparsexmc::shim::lane_index(), source = lane - static_cast<int>(delta);       \
    return sparsexmc::shim::shuffle(mask, value, source >= 0 ? source : lane, "__shfl_up_sync");   \
  }
SPARSEXMC_SHIM_SHUFFLES(int)
SPARSEXMC_SHIM_SHUFFLES(unsigned)
SPARSEXMC_SHIM_SHUFFLES(long)
SPARSEXMC_SHIM_SHUFFLES(unsigned long)
SPARSEXMC_SHIM_SHUFFLES(long long)
SPARSEXMC_SHIM_SHUFFLES(unsigned long long)
SPARSEXMC_SHIM_SHUFFLES(float)
SPARSEXMC_SHIM_SHUFFLES(double)
#undef SPARSEXMC_SHIM_SHUFFLES

inline unsigned __ballot_sync(unsigned mask, int predicate) {
  return sparsexmc::shim::ballot(mask, predicate != 0, "__ballot_sync");
}
inline int __any_sync(unsigned mask, int predicate) {
  return sparsexmc::shim::ballot(mask, predicate != 0, "__any_sync") != 0;
}
inline int __all_sync(unsigned mask, int predicate) {
  return sparsexmc::shim::ballot(mask, predicate != 0, "__all_sync") == mask;
}
unsigned __activemask() = delete;  // says nothing that a kernel may rely on

inline int __popc(unsigned x) { return std::popcount(x); }
inline int __popcll(unsigned long long x) { return std::popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline int __clz(int x) { return std::countl_zero(static_cast<unsigned>(x)); }
inline int __clzll(long long x) { return std::countl_zero(static_cast<unsigned long long>(x)); }
inline unsigned __brev(unsigned x) {
  x = (x & 0x55555555u) << 1 | (x >> 1 & 0x55555555u);
  x = (x & 0x33333333u) << 2 | (x >> 2 & 0x33333333u);
  x = (x & 0x0F0F0F0Fu) << 4 | (x >> 4 & 0x0F0F0F0Fu);
  return __builtin_bswap32(x);
}
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
inline float __int_as_float(int x) { return std::bit_cast<float>(x); }
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
template <class T>
T __ldg(const T* address) {
  return *address;
}

inline int atomicAdd(int* a, int v) { return sparsexmc::shim::fetch_add(a, v); }
inline unsigned atomicAdd(unsigned* a, unsigned v) { return sparsexmc::shim::fetch_add(a, v); }
inline unsigned long long atomicAdd(unsigned long long* a, unsigned long long v) {
  return sparsexmc::shim::fetch_add(a, v);
}
inline float atomicAdd(float* a, float v) { return sparsexmc::shim::fetch_add(a, v); }
inline double atomicAdd(double* a, double v) { return sparsexmc::shim::fetch_add(a, v); }
inline unsigned atomicOr(unsigned* a, unsigned v) {
  return std::atomic_ref<unsigned>(*a).fetch_or(v, std::memory_order_relaxed);
}
inline unsigned atomicAnd(unsigned* a, unsigned v) {
  return std::atomic_ref<unsigned>(*a).fetch_and(v, std::memory_order_relaxed);
}
#define SPARSEXMC_SHIM_EXTREMES(T)                                           \
  inline T atomicMax(T* a, T v) { return sparsexmc::shim::fetch_max(a, v); } \
  inline T atomicMin(T* a, T v) { return sparsexmc::shim::fetch_min(a, v); }
SPARSEXMC_SHIM_EXTREMES(int)
SPARSEXMC_SHIM_EXTREMES(unsigned)
SPARSEXMC_SHIM_EXTREMES(unsigned long long)
#undef SPARSEXMC_SHIM_EXTREMES
inline unsigned atomicCAS(unsigned* a, unsigned compare, unsigned v) {
  return sparsexmc::shim::compare_and_swap(a, compare, v);
}
inline unsigned long long atomicCAS(unsigned long long* a, unsigned long long compare, unsigned long long v) {
  return sparsexmc::shim::compare_and_swap(a, compare, v);
}

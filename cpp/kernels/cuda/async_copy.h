// Part of device_compat.h. Copies from global to shared memory that run beside the computation (cp.async). A thread
// groups its copies with commit and waits for its own groups; others see the data after a __syncthreads() that follows
// wait.
#pragma once

#include <cstdint>

namespace sparsexmc::cuda {

/// 16 bytes, both addresses 16-byte aligned; past the L1 cache.
SPARSEXMC_DEVICE void copy_async_16(void* shared, const void* global) {
#if defined(SPARSEXMC_CUDA_SHIM)
  shim::copy_async(shared, global);
#else
  asm volatile(
      "cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(static_cast<uint32_t>(__cvta_generic_to_shared(shared))),
      "l"(__cvta_generic_to_global(global))
      : "memory");
#endif
}

/// The same, or zeros where !valid; then `global` is not read, but must still be an aligned address.
SPARSEXMC_DEVICE void copy_async_16_or_zero(void* shared, const void* global, bool valid) {
#if defined(SPARSEXMC_CUDA_SHIM)
  shim::copy_async(shared, valid ? global : nullptr);
#else
  asm volatile(
      "cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(static_cast<uint32_t>(__cvta_generic_to_shared(shared))),
      "l"(__cvta_generic_to_global(global)), "r"(valid ? 16 : 0)
      : "memory");
#endif
}

/// Closes this thread's group of copies (it may be empty).
SPARSEXMC_DEVICE void copy_async_commit() {
#if defined(SPARSEXMC_CUDA_SHIM)
  shim::copy_async_commit();
#else
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

/// Waits until at most the `groups_left` youngest of this thread's groups are under way.
template <int groups_left>
SPARSEXMC_DEVICE void copy_async_wait() {
#if defined(SPARSEXMC_CUDA_SHIM)
  shim::copy_async_wait(groups_left);
#else
  asm volatile("cp.async.wait_group %0;" ::"n"(groups_left) : "memory");
#endif
}

}  // namespace sparsexmc::cuda

// Fibers: contexts that switch inside one OS thread, with the hooks that ASan and TSan need to follow them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#if defined(__x86_64__) && !defined(SPARSEXMC_SHIM_UCONTEXT)
#define SPARSEXMC_SHIM_FAST_SWITCH 1  // own assembly, about twenty times faster than ucontext
#else
#include <ucontext.h>
#endif

#if defined(__SANITIZE_THREAD__)
#define SPARSEXMC_SHIM_TSAN 1
#elif defined(__SANITIZE_ADDRESS__)
#define SPARSEXMC_SHIM_ASAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SPARSEXMC_SHIM_TSAN 1
#elif __has_feature(address_sanitizer)
#define SPARSEXMC_SHIM_ASAN 1
#endif
#endif

/// The scheduler's own data is touched from every fiber in turn. To TSan, fibers are threads, so it must not look.
/// Functions marked so call no std:: code: an out-of-line copy of that would be looked at.
#define SPARSEXMC_SHIM_HARNESS __attribute__((no_sanitize("thread")))

namespace sparsexmc::shim {

#if defined(SPARSEXMC_SHIM_TSAN) || defined(SPARSEXMC_SHIM_ASAN)
inline constexpr size_t stack_bytes = 256 << 10;  // instrumented frames are larger
#else
inline constexpr size_t stack_bytes = 64 << 10;
#endif

/// Where a fiber, or the OS thread that launched it, stopped.
struct Context {
#if defined(SPARSEXMC_SHIM_FAST_SWITCH)
  void* stack_pointer = nullptr;
#else
  ucontext_t machine;
#endif
  const void* stack = nullptr;  // lowest address and size, for ASan
  size_t size = 0;
  void* fake_stack = nullptr;  // ASan
  void* tsan_fiber = nullptr;  // TSan
};

/// Makes `context` stand for the code that runs now (the OS thread).
void adopt(Context& context);
/// A new fiber on `stack` that begins in `entry`, which calls arrive() first and never returns. `number` staggers the
/// first frames, which otherwise all fall into the same cache sets. `tsan_fiber`: see TsanFibers.
void create(Context& context, unsigned char* stack, void (*entry)(), unsigned number, void* tsan_fiber);
/// Stops `from` and goes on with `to`. `last`: `from` will never run again.
void switch_context(Context& from, Context& to, bool last = false);
/// First act of a fiber.
void arrive();

/// Everything before release(token) in one fiber is seen after acquire(token) in another. Only TSan needs it.
void release(void* token);
/// In the name of a fiber that stopped for ever.
void release(void* token, const Context& stopped, const Context& running);
void acquire(void* token);

/// Memory that changes hands between fibers without a barrier of the kernel: hides accesses by memset, malloc and free.
class HiddenFromTsan {
 public:
  HiddenFromTsan();
  ~HiddenFromTsan();
  HiddenFromTsan(const HiddenFromTsan&) = delete;
  HiddenFromTsan& operator=(const HiddenFromTsan&) = delete;
};

/// TSan's fibers of one OS thread. Each costs half a millisecond to make, so they serve one launch after the other.
/// Without TSan there are none.
class TsanFibers {
 public:
  TsanFibers() = default;
  TsanFibers(const TsanFibers&) = delete;
  TsanFibers& operator=(const TsanFibers&) = delete;
  ~TsanFibers();

  void* operator[](size_t number);
  /// Forgets a fiber that stopped for ever.
  void drop(size_t number);

 private:
  std::vector<void*> fibers_;
};

/// The stacks of one OS thread, each with a guard page below it.
class StackPool {
 public:
  StackPool() = default;
  StackPool(const StackPool&) = delete;
  StackPool& operator=(const StackPool&) = delete;
  ~StackPool();

  /// Makes at least `count` stacks available. Nothing may run on any of them.
  void reserve(size_t count);
  unsigned char* stack(size_t number) const;

 private:
  void unmap();

  unsigned char* memory_ = nullptr;
  size_t count_ = 0;
};

}  // namespace sparsexmc::shim

#include "fiber.h"

#include <pthread.h>
#include <sys/mman.h>

#include <new>

#if defined(SPARSEXMC_SHIM_TSAN)
#include <sanitizer/tsan_interface.h>
extern "C" {
void AnnotateIgnoreReadsBegin(const char* file, int line);
void AnnotateIgnoreReadsEnd(const char* file, int line);
void AnnotateIgnoreWritesBegin(const char* file, int line);
void AnnotateIgnoreWritesEnd(const char* file, int line);
}
#endif
#if defined(SPARSEXMC_SHIM_ASAN)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace sparsexmc::shim {

namespace {

constexpr size_t page = 4096;
constexpr size_t stride = stack_bytes + page;

#if defined(SPARSEXMC_SHIM_ASAN)
thread_local Context* arriving = nullptr;  // whose fake stack to take up after a switch
#endif

#if defined(SPARSEXMC_SHIM_FAST_SWITCH)
// Saves the callee-saved registers on the old stack and takes them from the new one. The floating-point control words
// are the same in all fibers.
extern "C" void sparsexmc_shim_switch_stack(void** from, void* to) __attribute__((visibility("hidden")));
asm(R"(
  .text
  .hidden sparsexmc_shim_switch_stack
  .globl sparsexmc_shim_switch_stack
  .type sparsexmc_shim_switch_stack, @function
sparsexmc_shim_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
  .size sparsexmc_shim_switch_stack, . - sparsexmc_shim_switch_stack
)");
#endif

}  // namespace

void adopt([[maybe_unused]] Context& context) {
#if defined(SPARSEXMC_SHIM_TSAN)
  context.tsan_fiber = __tsan_get_current_fiber();
#elif defined(SPARSEXMC_SHIM_ASAN)
  pthread_attr_t attributes;
  if (pthread_getattr_np(pthread_self(), &attributes) != 0) throw std::bad_alloc();
  void* stack = nullptr;
  pthread_attr_getstack(&attributes, &stack, &context.size);
  context.stack = stack;
  pthread_attr_destroy(&attributes);
#endif
}

SPARSEXMC_SHIM_HARNESS void create(Context& context, unsigned char* stack, void (*entry)(), unsigned number,
                                   void* tsan_fiber) {
  context.stack = stack;
  context.size = stack_bytes;
  context.tsan_fiber = tsan_fiber;
#if defined(SPARSEXMC_SHIM_ASAN)
  context.fake_stack = nullptr;
  __asan_unpoison_memory_region(stack, stack_bytes);  // a fiber that was abandoned leaves its frames poisoned
#endif
  const size_t stagger = number % 32 * 576;
#if defined(SPARSEXMC_SHIM_FAST_SWITCH)
  void** top = reinterpret_cast<void**>(stack + stack_bytes - stagger);
  *--top = nullptr;  // keeps the alignment of a called function, and ends a walk along the frames
  *--top = reinterpret_cast<void*>(entry);
  for (int saved_register = 0; saved_register < 6; ++saved_register) *--top = nullptr;
  context.stack_pointer = top;
#else
  getcontext(&context.machine);
  context.machine.uc_stack.ss_sp = stack;
  context.machine.uc_stack.ss_size = stack_bytes - stagger;
  context.machine.uc_link = nullptr;
  makecontext(&context.machine, entry, 0);
#endif
}

SPARSEXMC_SHIM_HARNESS void switch_context(Context& from, Context& to, [[maybe_unused]] bool last) {
#if defined(SPARSEXMC_SHIM_TSAN)
  __tsan_switch_to_fiber(to.tsan_fiber, __tsan_switch_to_fiber_no_sync);
#elif defined(SPARSEXMC_SHIM_ASAN)
  arriving = &to;
  __sanitizer_start_switch_fiber(last ? nullptr : &from.fake_stack, to.stack, to.size);
#endif
#if defined(SPARSEXMC_SHIM_FAST_SWITCH)
  sparsexmc_shim_switch_stack(&from.stack_pointer, to.stack_pointer);
#else
  swapcontext(&from.machine, &to.machine);
#endif
  arrive();
}

SPARSEXMC_SHIM_HARNESS void arrive() {
#if defined(SPARSEXMC_SHIM_ASAN)
  __sanitizer_finish_switch_fiber(arriving->fake_stack, nullptr, nullptr);
#endif
}

SPARSEXMC_SHIM_HARNESS void release([[maybe_unused]] void* token) {
#if defined(SPARSEXMC_SHIM_TSAN)
  __tsan_release(token);
#endif
}

SPARSEXMC_SHIM_HARNESS void release([[maybe_unused]] void* token, [[maybe_unused]] const Context& stopped,
                                    [[maybe_unused]] const Context& running) {
#if defined(SPARSEXMC_SHIM_TSAN)
  __tsan_switch_to_fiber(stopped.tsan_fiber, __tsan_switch_to_fiber_no_sync);
  __tsan_release(token);
  __tsan_switch_to_fiber(running.tsan_fiber, __tsan_switch_to_fiber_no_sync);
#endif
}

SPARSEXMC_SHIM_HARNESS void acquire([[maybe_unused]] void* token) {
#if defined(SPARSEXMC_SHIM_TSAN)
  __tsan_acquire(token);
#endif
}

HiddenFromTsan::HiddenFromTsan() {
#if defined(SPARSEXMC_SHIM_TSAN)
  AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
  AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
#endif
}

HiddenFromTsan::~HiddenFromTsan() {
#if defined(SPARSEXMC_SHIM_TSAN)
  AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
  AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
#endif
}

TsanFibers::~TsanFibers() {
  for (size_t number = 0; number < fibers_.size(); ++number) drop(number);
}

void* TsanFibers::operator[]([[maybe_unused]] size_t number) {
#if defined(SPARSEXMC_SHIM_TSAN)
  if (number >= fibers_.size()) fibers_.resize(number + 1);
  if (!fibers_[number]) fibers_[number] = __tsan_create_fiber(0);
  return fibers_[number];
#else
  return nullptr;
#endif
}

void TsanFibers::drop([[maybe_unused]] size_t number) {
#if defined(SPARSEXMC_SHIM_TSAN)
  if (fibers_[number]) __tsan_destroy_fiber(fibers_[number]);
  fibers_[number] = nullptr;
#endif
}

StackPool::~StackPool() { unmap(); }

unsigned char* StackPool::stack(size_t number) const { return memory_ + number * stride + page; }

void StackPool::reserve(size_t count) {
#if !defined(SPARSEXMC_SHIM_TSAN)
  if (count <= count_) return;
#endif
  // TSan remembers who touched a stack last, and another thread of the kernel may be given it now: it gets new memory.
  unmap();
  void* memory =
      mmap(nullptr, count * stride, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  memory_ = static_cast<unsigned char*>(memory);
  count_ = count;
  for (size_t number = 0; number < count; ++number) mprotect(memory_ + number * stride, page, PROT_NONE);
}

void StackPool::unmap() {
  if (memory_) munmap(memory_, count_ * stride);
  memory_ = nullptr;
  count_ = 0;
}

}  // namespace sparsexmc::shim

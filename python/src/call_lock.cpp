#include "call_lock.h"

#include <unistd.h>

#include <memory>
#include <string>
#include <thread>

#include "sparsexmc/error.h"

namespace sparsexmc::python {
namespace {

/// A number that no other thread has or had, not even one of the process that this was forked from: a new thread of the
/// child may get the identity that the system gave to one that is gone.
uint64_t this_thread() {
  static std::atomic<uint64_t> last{0};
  thread_local const uint64_t number = ++last;
  return number;
}

}  // namespace

CallLock::State::State() : process(getpid()) {}

CallLock::~CallLock() {
  State* state = state_.load();
  if (state->process == getpid()) delete state;  // else its mutex may be locked for ever
}

CallLock::State& CallLock::of_this_process() {
  State* state = state_.load();
  if (state->process == getpid()) return *state;
  const uint64_t holder = state->holder.load();
  if (holder == this_thread()) return *state;  // forked by a handler in the middle of a call, which goes on
  if (holder != 0)
    throw Error(std::string("this process was forked while another thread was in a call of the ") + what_ +
                ", whose copy here is in the middle of it; fork when no call runs, start processes by \"spawn\" or " +
                "\"forkserver\", or make or load the " + what_ + " after the fork");
  auto fresh = std::make_unique<State>();
  if (state_.compare_exchange_strong(state, fresh.get())) return *fresh.release();
  return *state;
}

void CallLock::lock() {
  State& state = of_this_process();
  const uint64_t me = this_thread();
  if (state.holder.load() != me) {
    // The mutex is not fair: a thread that makes one call after another would win it every time.
    while (state.hurried.load() > 0) std::this_thread::sleep_for(std::chrono::microseconds(50));
    state.mutex.lock();
    state.holder.store(me);
  }
  ++state.depth;
}

bool CallLock::try_lock_for(std::chrono::duration<double> patience) {
  State& state = of_this_process();
  const uint64_t me = this_thread();
  if (state.holder.load() != me) {
    ++state.hurried;
    const bool locked = state.mutex.try_lock_for(patience);
    --state.hurried;
    if (!locked) return false;
    state.holder.store(me);
  }
  ++state.depth;
  return true;
}

void CallLock::unlock() {
  State& state = *state_.load();
  if (--state.depth > 0) return;
  state.holder.store(0);
  state.mutex.unlock();
}

}  // namespace sparsexmc::python

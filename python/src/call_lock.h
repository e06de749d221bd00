// One call at a time, also in a process that was forked.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>

namespace sparsexmc::python {

/// A mutex that its holder may lock again: the handler of a signal may use a model in the middle of a prediction. In a
/// forked child it is free, unless another thread held it: that thread is not there to end what it was doing.
class CallLock {
 public:
  /// @param what is locked, for the message, e.g. "classifier"
  explicit CallLock(const char* what) : what_(what), state_(new State) {}
  ~CallLock();
  CallLock(const CallLock&) = delete;
  CallLock& operator=(const CallLock&) = delete;

  /// @throws Error in a child that was forked while another thread held it; do not hold the GIL
  void lock();
  void unlock();
  /// Comes before threads that wait in lock(). @returns whether it is locked now, by this thread
  bool try_lock_for(std::chrono::duration<double> patience);

 private:
  struct State {
    State();

    const int process;
    std::timed_mutex mutex;
    std::atomic<int> hurried{0};      // threads in try_lock_for
    std::atomic<uint64_t> holder{0};  // 0: nobody
    int depth = 0;                    // belongs to the holder
  };

  State& of_this_process();

  const char* const what_;
  std::atomic<State*> state_;
};

}  // namespace sparsexmc::python

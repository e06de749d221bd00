// A small blocking thread pool: no OpenMP, no spinning beyond a few microseconds.
#pragma once

#include <cstdint>
#include <memory>

#include "sparsexmc/export.h"

namespace sparsexmc {

/// Runs loops over independent items. Threads start on the first parallel loop, survive between loops, and start anew
/// in a forked child. Items are handed out dynamically, so nothing may depend on which worker runs an item.
class SPARSEXMC_API ThreadPool {
 public:
  static constexpr int max_threads = 4096;

  /// @param num_threads workers including the caller; 0 reads SPARSEXMC_NUM_THREADS, then OMP_NUM_THREADS, then takes
  ///        the number of CPUs that this process may use.
  /// @throws ArgumentError for a number outside 0..max_threads or a malformed environment variable
  explicit ThreadPool(int num_threads = 0);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int num_threads() const { return num_threads_; }

  /// Calls body(argument, item, worker) for every item in [0, items) and returns when all are done. The first exception
  /// of a body is rethrown here, once no body runs any more; items not yet begun are left out. Calls from several
  /// threads are served one after another. A call from inside a body runs its items there, with that body's worker
  /// number.
  void run(int64_t items, void (*body)(void* argument, int64_t item, int worker), void* argument);

 private:
  struct SPARSEXMC_HIDDEN State;
  std::unique_ptr<State> state_;
  int num_threads_;
};

/// body(item, worker) for every item in [0, items); worker < pool.num_threads().
template <class Body>
void parallel_for(ThreadPool& pool, int64_t items, Body&& body) {
  auto* address = &body;
  using Pointer = decltype(address);
  pool.run(
      items, [](void* argument, int64_t item, int worker) { (*static_cast<Pointer>(argument))(item, worker); },
      const_cast<void*>(static_cast<const void*>(address)));
}

}  // namespace sparsexmc

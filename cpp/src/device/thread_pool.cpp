#include "sparsexmc/thread_pool.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "device/thread_count.h"

namespace sparsexmc {
namespace {

/// Waking a sleeping thread costs tens of microseconds; loops of one step follow each other faster than that.
constexpr std::chrono::microseconds spin_time{30};

void pause_cpu() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

/// Waits for the condition without sleeping, for spin_time at most.
template <class Condition>
void spin_until(const Condition& condition) {
  const auto deadline = std::chrono::steady_clock::now() + spin_time;
  do {
    for (int i = 0; i < 32; ++i) {
      if (condition()) return;
      pause_cpu();
    }
  } while (std::chrono::steady_clock::now() < deadline);
}

/// The loops that the calling thread is in the middle of, innermost first.
struct Frame {
  const void* pool;
  int worker;
  const Frame* outer;
};
thread_local const Frame* innermost = nullptr;

class EnterFrame {
 public:
  EnterFrame(const void* pool, int worker) : frame_{pool, worker, innermost} { innermost = &frame_; }
  ~EnterFrame() { innermost = frame_.outer; }
  EnterFrame(const EnterFrame&) = delete;
  EnterFrame& operator=(const EnterFrame&) = delete;

 private:
  Frame frame_;
};

using LoopBody = void (*)(void* argument, int64_t item, int worker);

/// The threads of one process and the loop they share. Workers join a loop while it has openings; whoever wakes too
/// late finds none and is not waited for, so that a descheduled thread delays nobody.
class Team {
 public:
  Team(const void* pool, int num_threads)
      : pool_(pool), num_threads_(num_threads), spins_(num_threads <= usable_cpus()) {}

  ~Team() {
    {
      const std::lock_guard lock(mutex_);
      stop_.store(true, std::memory_order_relaxed);
    }
    work_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  bool of_this_process() const { return process_ == getpid(); }

  void run(int64_t items, LoopBody body, void* argument) {
    const std::lock_guard one_loop_at_a_time(run_mutex_);
    if (items <= 1 || num_threads_ == 1) {
      const EnterFrame frame(pool_, 0);
      for (int64_t item = 0; item < items; ++item) body(argument, item, 0);
      return;
    }
    start_threads();
    publish(items, body, argument);
    take_items(0);
    close_and_wait();
    if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
  }

 private:
  void start_threads() {
    if (started_) return;
    started_ = true;
    threads_.reserve(num_threads_ - 1);
    try {
      for (int worker = 1; worker < num_threads_; ++worker) threads_.emplace_back([this, worker] { serve(worker); });
    } catch (const std::system_error&) {
      // The system grants no more threads: those that started do the work.
    }
  }

  void publish(int64_t items, LoopBody body, void* argument) {
    int to_wake;
    {
      const std::lock_guard lock(mutex_);
      items_ = items;
      body_ = body;
      argument_ = argument;
      next_.store(0, std::memory_order_relaxed);
      const int openings = static_cast<int>(std::min<int64_t>(items - 1, static_cast<int64_t>(threads_.size())));
      openings_.store(openings, std::memory_order_relaxed);
      to_wake = std::min(openings, sleeping_);
    }
    for (int i = 0; i < to_wake; ++i) work_.notify_one();
  }

  void take_items(int worker) {
    const EnterFrame frame(pool_, worker);
    for (;;) {
      const int64_t item = next_.fetch_add(1, std::memory_order_relaxed);
      if (item >= items_) return;
      try {
        body_(argument_, item, worker);
      } catch (...) {
        next_.store(items_, std::memory_order_relaxed);  // nobody starts another item
        const std::lock_guard lock(mutex_);
        if (!error_) error_ = std::current_exception();
        return;
      }
    }
  }

  void close_and_wait() {
    {
      const std::lock_guard lock(mutex_);
      openings_.store(0, std::memory_order_relaxed);
    }
    if (spins_) spin_until([this] { return active_.load(std::memory_order_relaxed) == 0; });
    std::unique_lock lock(mutex_);
    done_.wait(lock, [this] { return active_.load(std::memory_order_relaxed) == 0; });
  }

  void serve(int worker) {
    for (;;) {
      const auto called = [this] {
        return stop_.load(std::memory_order_relaxed) || openings_.load(std::memory_order_relaxed) > 0;
      };
      if (spins_) spin_until(called);
      std::unique_lock lock(mutex_);
      ++sleeping_;
      work_.wait(lock, called);
      --sleeping_;
      if (stop_.load(std::memory_order_relaxed)) return;
      openings_.fetch_sub(1, std::memory_order_relaxed);
      active_.fetch_add(1, std::memory_order_relaxed);
      lock.unlock();
      take_items(worker);
      lock.lock();
      openings_.store(0, std::memory_order_relaxed);  // no item is left, so nobody else need join
      if (active_.fetch_sub(1, std::memory_order_relaxed) == 1) done_.notify_one();
    }
  }

  const void* const pool_;
  const int num_threads_;
  const bool spins_;  // spinning takes a CPU from another worker where there are more workers than CPUs
  const pid_t process_ = getpid();
  std::mutex run_mutex_;
  bool started_ = false;  // this and threads_ belong to the holder of run_mutex_
  std::vector<std::thread> threads_;

  // Written under mutex_; atomics are also read without it by spinning threads, which then take it.
  std::mutex mutex_;
  std::condition_variable work_, done_;
  std::atomic<bool> stop_{false};
  std::atomic<int> openings_{0};  // workers that may still join the loop
  std::atomic<int> active_{0};    // workers inside the loop, the caller not counted
  int sleeping_ = 0;
  int64_t items_ = 0;
  LoopBody body_ = nullptr;
  void* argument_ = nullptr;
  std::exception_ptr error_;
  std::atomic<int64_t> next_{0};  // the next item to hand out; past items_ when all are
};

}  // namespace

struct ThreadPool::State {
  std::atomic<Team*> team;
};

ThreadPool::ThreadPool(int num_threads) : state_(new State{}), num_threads_(resolve_threads(num_threads)) {
  state_->team = new Team(this, num_threads_);
}

ThreadPool::~ThreadPool() {
  const Team* team = state_->team.load();
  if (team->of_this_process()) delete team;  // a forked child has none of its threads to join
}

void ThreadPool::run(int64_t items, void (*body)(void* argument, int64_t item, int worker), void* argument) {
  for (const Frame* frame = innermost; frame != nullptr; frame = frame->outer) {
    if (frame->pool != this) continue;
    // Nested: the threads are busy with the outer loop. The worker keeps its number, and so its scratch.
    for (int64_t item = 0; item < items; ++item) body(argument, item, frame->worker);
    return;
  }
  Team* team = state_->team.load();
  if (!team->of_this_process()) {
    // After a fork the threads are gone and the mutexes may be locked for ever: leave the old team where it lies.
    auto fresh = std::make_unique<Team>(this, num_threads_);
    if (state_->team.compare_exchange_strong(team, fresh.get())) team = fresh.release();
  }
  team->run(items, body, argument);
}

}  // namespace sparsexmc

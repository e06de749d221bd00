#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <thread>
#include <vector>

#include "sparsexmc/thread_pool.h"

using namespace sparsexmc;

namespace {

int64_t sum_of_squares(ThreadPool& pool, int64_t items) {
  std::vector<int64_t> squares(static_cast<size_t>(items));
  parallel_for(pool, items, [&](int64_t item, int) { squares[static_cast<size_t>(item)] = item * item; });
  return std::accumulate(squares.begin(), squares.end(), int64_t{0});
}

constexpr int64_t squares_to_1000 = 999LL * 1000 * 1999 / 6;

#if !defined(__SANITIZE_THREAD__)
constexpr unsigned patience = 300;  // seconds: far more than a busy machine needs, so that only a deadlock reaches it

/// Did the child end by _exit(0)?
bool succeeded(pid_t child) {
  int status = -1;
  return waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}
#endif

}  // namespace

TEST_SUITE("threads") {
  TEST_CASE("every item runs once, on a worker of the pool") {
    for (const int num_threads : {1, 2, 3, 8}) {
      ThreadPool pool(num_threads);
      CHECK(pool.num_threads() == num_threads);
      for (const int64_t items : {0, 1, 2, 7, 1000}) {
        std::vector<std::atomic<int>> runs(static_cast<size_t>(items));
        std::atomic<bool> strange_worker = false;
        parallel_for(pool, items, [&](int64_t item, int worker) {
          ++runs[static_cast<size_t>(item)];
          if (worker < 0 || worker >= num_threads) strange_worker = true;
        });
        int wrong = 0;
        for (const auto& count : runs) wrong += count != 1;
        CHECK(wrong == 0);
        CHECK(!strange_worker);
      }
    }
  }

  TEST_CASE("no two items run at once under one worker number") {
    ThreadPool pool(4);
    std::vector<int> scratch(4);  // unguarded: the thread sanitizer would see a clash
    for (int round = 0; round < 200; ++round)
      parallel_for(pool, 50, [&](int64_t, int worker) { ++scratch[static_cast<size_t>(worker)]; });
    CHECK(std::accumulate(scratch.begin(), scratch.end(), 0) == 200 * 50);
  }

  TEST_CASE("several threads take part, the caller as worker 0") {
    ThreadPool pool(2);
    const auto caller = std::this_thread::get_id();
    std::atomic<int> arrived = 0;
    std::atomic<bool> misnumbered = false;
    // Neither item ends before the other has begun, so two threads are needed.
    parallel_for(pool, 2, [&](int64_t, int worker) {
      if ((worker == 0) != (std::this_thread::get_id() == caller)) misnumbered = true;
      ++arrived;
      while (arrived < 2) std::this_thread::yield();
    });
    CHECK(arrived == 2);
    CHECK(!misnumbered);
  }

  TEST_CASE("sleeping workers wake up again") {
    ThreadPool pool(3);
    for (int round = 0; round < 5; ++round) {
      CHECK(sum_of_squares(pool, 1000) == squares_to_1000);
      std::this_thread::sleep_for(std::chrono::milliseconds(3));
    }
  }

  TEST_CASE("an exception stops the loop, reaches the caller and leaves the pool usable") {
    for (const int num_threads : {1, 4}) {
      ThreadPool pool(num_threads);
      for (int round = 0; round < 20; ++round) {
        std::atomic<int> running = 0;
        CHECK_THROWS_WITH_AS(parallel_for(pool, 100,
                                          [&](int64_t item, int) {
                                            ++running;
                                            if (item % 10 == 3) {
                                              --running;
                                              throw std::runtime_error("item failed");
                                            }
                                            --running;
                                          }),
                             "item failed", std::runtime_error);
        CHECK(running == 0);
        CHECK(sum_of_squares(pool, 1000) == squares_to_1000);
      }
    }
  }

  TEST_CASE("a nested loop runs in place, with its worker's number") {
    for (const int num_threads : {1, 3}) {
      ThreadPool pool(num_threads);
      std::atomic<int64_t> inner_items = 0;
      std::atomic<bool> changed_worker = false;
      parallel_for(pool, 20, [&](int64_t, int worker) {
        const auto thread = std::this_thread::get_id();
        parallel_for(pool, 10, [&](int64_t, int inner_worker) {
          ++inner_items;
          if (inner_worker != worker || std::this_thread::get_id() != thread) changed_worker = true;
        });
      });
      CHECK(inner_items == 200);
      CHECK(!changed_worker);
    }
  }

  TEST_CASE("loops of two pools nest in each other") {
    ThreadPool outer(2), inner(2);
    std::atomic<int> count = 0;
    parallel_for(outer, 4, [&](int64_t, int) {
      parallel_for(inner, 1, [&](int64_t, int) { parallel_for(outer, 3, [&](int64_t, int) { ++count; }); });
    });
    CHECK(count == 12);
  }

  TEST_CASE("calls from several threads are served one after another") {
    for (const int num_threads : {1, 3}) {
      ThreadPool pool(num_threads);
      constexpr int num_callers = 4;
      std::atomic<int> wrong = 0, overlaps = 0;
      std::vector<std::atomic<int>> running(num_callers);
      std::vector<std::thread> callers;
      for (size_t caller = 0; caller < num_callers; ++caller) {
        callers.emplace_back([&, caller] {
          for (int round = 0; round < 50; ++round) {
            if (sum_of_squares(pool, 1000) != squares_to_1000) ++wrong;
            parallel_for(pool, 8, [&](int64_t, int) {
              ++running[caller];
              std::this_thread::yield();
              for (size_t other = 0; other < num_callers; ++other) overlaps += other != caller && running[other] > 0;
              --running[caller];
            });
          }
        });
      }
      for (std::thread& thread : callers) thread.join();
      CHECK(wrong == 0);
      CHECK(overlaps == 0);
    }
  }

  TEST_CASE("a pool that never ran, or only once, is destroyed cleanly") {
    {
      const ThreadPool unused(4);
    }
    for (int round = 0; round < 50; ++round) {
      ThreadPool pool(4);
      std::atomic<int> count = 0;
      parallel_for(pool, 4, [&](int64_t, int) { ++count; });
      CHECK(count == 4);
    }
  }

#if !defined(__SANITIZE_THREAD__)  // the sanitizer refuses new threads after a fork
  TEST_CASE("a forked child starts threads of its own") {
    ThreadPool pool(3);
    CHECK(sum_of_squares(pool, 1000) == squares_to_1000);
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      alarm(patience);  // a deadlock ends the child, not the test
      bool right = true;
      for (int round = 0; round < 3; ++round) right = right && sum_of_squares(pool, 1000) == squares_to_1000;
      _exit(right ? 0 : 1);
    }
    CHECK(succeeded(child));
    CHECK(sum_of_squares(pool, 1000) == squares_to_1000);
  }

  TEST_CASE("a forked child can destroy the pool, used there before or not") {
    for (const bool used : {true, false}) {
      auto pool = std::make_unique<ThreadPool>(3);
      CHECK(sum_of_squares(*pool, 1000) == squares_to_1000);
      const pid_t child = fork();
      REQUIRE(child >= 0);
      if (child == 0) {
        alarm(patience);
        if (used) sum_of_squares(*pool, 1000);
        pool.reset();
        _exit(0);
      }
      CHECK(succeeded(child));
    }
  }

  TEST_CASE("a child forked in the middle of a loop can use the pool") {
    ThreadPool pool(3);
    std::atomic<bool> stop = false;
    std::thread busy([&] {
      while (!stop) sum_of_squares(pool, 1000);
    });
    int failed = 0;
    for (int round = 0; round < 10; ++round) {
      const pid_t child = fork();
      if (child == 0) {
        alarm(patience);
        std::atomic<int> count = 0;
        parallel_for(pool, 100, [&](int64_t, int) { ++count; });
        _exit(count == 100 ? 0 : 1);
      }
      failed += !succeeded(child);
    }
    stop = true;
    busy.join();
    CHECK(failed == 0);
  }
#endif
}

#include <doctest/doctest.h>

#include <cstdlib>
#include <optional>
#include <string>
#include <thread>

#include "device/thread_count.h"
#include "sparsexmc/error.h"
#include "sparsexmc/thread_pool.h"

using namespace sparsexmc;

namespace {

/// Sets an environment variable, or unsets it, until the end of the scope.
class Environment {
 public:
  Environment(const char* name, const char* value) : name_(name) {
    if (const char* before = std::getenv(name)) before_ = before;
    set(value);
  }
  ~Environment() { set(before_ ? before_->c_str() : nullptr); }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

 private:
  void set(const char* value) {
    if (value == nullptr) {
      unsetenv(name_);
    } else {
      setenv(name_, value, 1);
    }
  }

  const char* name_;
  std::optional<std::string> before_;
};

std::string message_of(const char* variable, const char* value) {
  const Environment own("SPARSEXMC_NUM_THREADS", nullptr);
  const Environment environment(variable, value);
  try {
    const ThreadPool pool;
  } catch (const ArgumentError& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_SUITE("threads") {
  TEST_CASE("the number of threads: argument, own variable, OpenMP's variable, usable CPUs") {
    const Environment own("SPARSEXMC_NUM_THREADS", "3"), openmp("OMP_NUM_THREADS", " 5,2");
    CHECK(ThreadPool(7).num_threads() == 7);
    CHECK(ThreadPool().num_threads() == 3);
    {
      const Environment unset("SPARSEXMC_NUM_THREADS", nullptr);
      CHECK(ThreadPool().num_threads() == 5);
      const Environment empty("OMP_NUM_THREADS", "");
      CHECK(ThreadPool().num_threads() == usable_cpus());
    }
    CHECK(usable_cpus() >= 1);
    if (const unsigned cpus = std::thread::hardware_concurrency(); cpus != 0)  // 0: the system does not say
      CHECK(usable_cpus() <= static_cast<int>(cpus));
  }

  TEST_CASE("a bad number of threads is refused by name") {
    CHECK_THROWS_AS(ThreadPool(-1), ArgumentError);
    CHECK_THROWS_AS(ThreadPool(ThreadPool::max_threads + 1), ArgumentError);
    for (const char* value : {"0", "-2", "two", "2.5", "3x", "99999999999", " "}) {
      for (const char* variable : {"SPARSEXMC_NUM_THREADS", "OMP_NUM_THREADS"}) {
        const std::string message = message_of(variable, value);
        CHECK_MESSAGE(message.find(variable) != std::string::npos, message);
        CHECK_MESSAGE(message.find("\"" + std::string(value) + "\"") != std::string::npos, message);
      }
    }
  }
}

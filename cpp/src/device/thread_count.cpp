#include "device/thread_count.h"

#include <sched.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <string>
#include <string_view>
#include <thread>

#include "sparsexmc/error.h"
#include "sparsexmc/thread_pool.h"

namespace sparsexmc {
namespace {

/// The first number of the variable; 0 where it is unset or empty.
int threads_from(const char* variable) {
  const char* value = std::getenv(variable);
  if (value == nullptr) return 0;
  std::string_view text(value);
  text = text.substr(0, text.find(','));  // OMP_NUM_THREADS may list one number per nesting level
  const auto is_space = [](char c) { return c == ' ' || c == '\t'; };
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  if (text.empty() && std::string_view(value).empty()) return 0;
  int number = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || stop != text.data() + text.size() || number < 1 || number > ThreadPool::max_threads)
    throw ArgumentError("the environment variable " + std::string(variable) + " is \"" + value +
                        "\"; set it to a whole number within 1.." + std::to_string(ThreadPool::max_threads) +
                        ", or unset it");
  return number;
}

}  // namespace

int usable_cpus() {
#if defined(__linux__)
  for (int cpus = 1024; cpus <= 1 << 20; cpus *= 4) {  // the call fails where the set is smaller than the kernel's
    cpu_set_t* set = CPU_ALLOC(cpus);
    if (set == nullptr) break;
    const size_t bytes = CPU_ALLOC_SIZE(cpus);
    const int count = sched_getaffinity(0, bytes, set) == 0 ? CPU_COUNT_S(bytes, set) : 0;
    CPU_FREE(set);
    if (count > 0) return count;
  }
#endif
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

int resolve_threads(int num_threads) {
  if (num_threads < 0 || num_threads > ThreadPool::max_threads)
    throw ArgumentError("num_threads is " + std::to_string(num_threads) + "; use 1.." +
                        std::to_string(ThreadPool::max_threads) + ", or 0 for the default");
  if (num_threads > 0) return num_threads;
  if (const int number = threads_from("SPARSEXMC_NUM_THREADS")) return number;
  if (const int number = threads_from("OMP_NUM_THREADS")) return number;
  return std::min(usable_cpus(), ThreadPool::max_threads);
}

}  // namespace sparsexmc

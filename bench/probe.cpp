// Measures what this machine can do at most: fp32 multiply-adds per second and bytes read per second.
// Build: g++ -O3 -march=native -std=c++20 -pthread probe.cpp. Usage: probe <threads>. Prints one JSON object.
#include <algorithm>
#include <barrier>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <thread>
#include <vector>

namespace {

#if defined(__AVX512F__)
constexpr size_t vector_bytes = 64;
#elif defined(__AVX__)
constexpr size_t vector_bytes = 32;
#else
constexpr size_t vector_bytes = 16;
#endif
typedef float Vector __attribute__((vector_size(vector_bytes)));
constexpr size_t lanes = vector_bytes / sizeof(float);

// Enough independent chains to cover latency x issue width of every current core; all fit in registers.
constexpr size_t chains = 12;
constexpr int repeats = 7;

// Makes the compiler believe that the sums are read and changed here, so that it neither drops nor merges chains.
void touch(Vector (&sums)[chains]) { asm volatile("" : "+m"(sums) : : "memory"); }

/// Seconds that the slowest of `threads` threads needs for work(thread), started together; the best of some repeats.
template <class Work>
double best_seconds(int threads, Work work) {
  double best = 1e30;
  std::barrier start(threads);
  std::vector<double> seconds(threads);
  std::vector<std::thread> workers;
  auto body = [&](int thread) {
    for (int repeat = 0; repeat <= repeats; ++repeat) {
      start.arrive_and_wait();
      const auto begin = std::chrono::steady_clock::now();
      work(thread);
      seconds[thread] = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
      start.arrive_and_wait();
      // The first round warms caches and clocks.
      if (thread == 0 && repeat > 0) best = std::min(best, *std::max_element(seconds.begin(), seconds.end()));
    }
  };
  for (int thread = 1; thread < threads; ++thread) workers.emplace_back(body, thread);
  body(0);
  for (std::thread& worker : workers) worker.join();
  return best;
}

double fma_gflops(int threads) {
  constexpr int64_t rounds = 10'000'000;
  const double seconds = best_seconds(threads, [](int) {
    volatile float factor = 0.999f, term = 1e-3f;
    const Vector a = factor - Vector{}, b = term - Vector{};
    Vector sums[chains] = {};
    touch(sums);
    for (int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 12
      for (size_t c = 0; c < chains; ++c) sums[c] = sums[c] * a + b;
    }
    touch(sums);
  });
  return 2.0 * lanes * chains * rounds * threads / seconds * 1e-9;
}

double read_gbs(int threads, size_t bytes) {
  const size_t block = vector_bytes * chains;
  const size_t blocks = bytes / block;
  const int64_t passes = std::max<int64_t>(1, (int64_t{1} << 30) / static_cast<int64_t>(bytes));
  std::vector<std::unique_ptr<Vector, decltype(&std::free)>> data;
  for (int thread = 0; thread < threads; ++thread) {
    data.emplace_back(static_cast<Vector*>(std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096)), &std::free);
    std::fill_n(reinterpret_cast<float*>(data.back().get()), bytes / sizeof(float), 1.0f);
  }
  const double seconds = best_seconds(threads, [&](int thread) {
    Vector sums[chains] = {};
    for (int64_t pass = 0; pass < passes; ++pass) {
      const Vector* p = data[thread].get();
      for (size_t i = 0; i < blocks; ++i, p += chains) {
#pragma GCC unroll 12
        for (size_t c = 0; c < chains; ++c) sums[c] += p[c];
      }
      asm volatile("" ::: "memory");  // every pass reads again
    }
    touch(sums);
  });
  return static_cast<double>(blocks * block) * passes * threads / seconds * 1e-9;
}

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : 1;
  if (threads < 1) {
    std::fprintf(stderr, "usage: probe <threads >= 1>\n");
    return 2;
  }
  std::printf("{\"threads\": %d, \"vector_bits\": %zu, \"fma_gflops\": %.1f", threads, vector_bytes * 8,
              fma_gflops(threads));
  const struct {
    const char* name;
    size_t bytes;
  } levels[] = {{"l1", size_t{24} << 10}, {"l2", size_t{384} << 10}, {"dram", size_t{192} << 20}};
  for (const auto& level : levels) {
    std::printf(", \"%s_kib\": %zu, \"%s_gbs\": %.1f", level.name, level.bytes >> 10, level.name,
                read_gbs(threads, level.bytes));
  }
  std::printf("}\n");
  return 0;
}

#include <doctest/doctest.h>

#include <atomic>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "fake_memory.h"
#include "sparsexmc/error.h"
#include "sparsexmc/memory_pool.h"

using namespace sparsexmc;

namespace {

constexpr size_t kib = 1024, mib = 1024 * kib;

template <class Call>
std::string refusal(const Call& call) {
  try {
    call();
  } catch (const MemoryPlanError& error) {
    return error.what();
  }
  return "no MemoryPlanError";
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_SUITE("memory_pool") {
  TEST_CASE("requests are rounded to the granularity") {
    CHECK(MemoryPool::rounded(0) == 0);
    CHECK(MemoryPool::rounded(1) == 256);
    CHECK(MemoryPool::rounded(256) == 256);
    CHECK(MemoryPool::rounded(257) == 512);
    const size_t huge = std::numeric_limits<size_t>::max();
    CHECK(MemoryPool::rounded(huge) == huge - 255);  // and not 0
  }

  TEST_CASE("statistics and names") {
    FakeMemory memory;
    MemoryPool pool(memory.source());
    {
      const Allocation a = pool.allocate("weights", 1000), b = pool.allocate("bias", 10),
                       c = pool.allocate("bias", 300);
      CHECK(a.bytes() == 1000);
      CHECK(a);
      CHECK(a.as<float>() == a.as());
      CHECK(pool.statistics().current == 1024 + 256 + 512);
      CHECK(pool.statistics().reserved == 1024 + 256 + 512);
      CHECK(pool.statistics().allocations == 3);
      const std::vector<MemoryEntry> entries = pool.entries();
      REQUIRE(entries.size() == 2);
      CHECK(entries[0].name == "weights");
      CHECK(entries[0].bytes == 1024);
      CHECK(entries[1].name == "bias");
      CHECK(entries[1].bytes == 768);
    }
    CHECK(pool.entries().empty());
    CHECK(pool.statistics().current == 0);
    CHECK(pool.statistics().peak == 1792);
    CHECK(pool.statistics().reserved == 1792);
    pool.reset_peak();
    CHECK(pool.statistics().peak == 0);
    pool.trim();
    CHECK(pool.statistics().reserved == 0);
    CHECK(memory.bytes() == 0);
  }

  TEST_CASE("zero bytes give an empty allocation without an entry") {
    FakeMemory memory;
    MemoryPool pool(memory.source());
    const Allocation none = pool.allocate("nothing", 0);
    CHECK(!none);
    CHECK(none.as() == nullptr);
    CHECK(none.bytes() == 0);
    CHECK(pool.entries().empty());
    CHECK(pool.statistics().allocations == 0);
  }

  TEST_CASE("allocations move, and give back what they held") {
    FakeMemory memory;
    MemoryPool pool(memory.source());
    Allocation a = pool.allocate("a", 256), b = pool.allocate("b", 512);
    const void* data = b.as();
    a = std::move(b);
    CHECK(!b);  // NOLINT: moved-from is empty by contract
    CHECK(a.as() == data);
    CHECK(pool.statistics().current == 512);
    Allocation& same = a;
    a = std::move(same);
    CHECK(a.as() == data);
    a = {};
    CHECK(pool.statistics().current == 0);
  }

  TEST_CASE("the limit holds for the rounded requests and refuses without a trace") {
    FakeMemory memory;
    MemoryPool pool(memory.source(), 10 * kib);
    const Allocation weights = pool.allocate("segments.1.weights", 6 * kib), bias = pool.allocate("bias", 1 * kib);
    const MemoryStatistics before = pool.statistics();
    const std::string message = refusal([&] { (void)pool.allocate("topk.lists", 3 * kib + 1); });
    for (const char* part :
         {"\"topk.lists\"", "3328 bytes", "7168 bytes in use", "10240", "segments.1.weights 6144", "bias 1024"})
      CHECK_MESSAGE(contains(message, part), message);
    CHECK(pool.statistics().current == before.current);
    CHECK(pool.statistics().peak == before.peak);
    CHECK(pool.statistics().reserved == before.reserved);
    CHECK(pool.statistics().allocations == before.allocations);
    CHECK(pool.entries().size() == 2);
    CHECK(pool.allocate("fits to the byte", 3 * kib).bytes() == 3 * kib);
    CHECK(contains(refusal([&] { (void)pool.allocate("huge", std::numeric_limits<size_t>::max()); }), "\"huge\""));
  }

  TEST_CASE("cached blocks make room under the limit before the source is asked for more") {
    FakeMemory memory;
    MemoryPool pool(memory.source(), 10 * mib);
    pool.allocate("a", 6 * mib);
    CHECK(memory.bytes() == 6 * mib);
    const Allocation b = pool.allocate("b", 8 * mib);
    CHECK(memory.bytes() == 8 * mib);
    CHECK(pool.statistics().reserved == 8 * mib);
  }

  TEST_CASE("an exhausted source is asked again after a trim, then it is an error") {
    FakeMemory memory;
    memory.capacity = 10 * mib;
    MemoryPool pool(memory.source());
    pool.allocate("a", 6 * mib);
    const Allocation b = pool.allocate("b", 8 * mib);
    CHECK(memory.bytes() == 8 * mib);
    const std::string message = refusal([&] { (void)pool.allocate("c", 4 * mib); });
    CHECK_MESSAGE(contains(message, "\"c\""), message);
    CHECK_MESSAGE(contains(message, "no more memory"), message);
    CHECK(pool.statistics().current == 8 * mib);
    CHECK(pool.statistics().reserved == 8 * mib);
  }

  TEST_CASE("free blocks are reused: equal size first, then a little larger, never much larger") {
    FakeMemory memory;
    MemoryPool pool(memory.source());
    Allocation large = pool.allocate("x", 80 * mib), larger = pool.allocate("x", 88 * mib);
    const void *at_large = large.as(), *at_larger = larger.as();
    large = {}, larger = {};

    Allocation again = pool.allocate("y", 88 * mib);
    CHECK(again.as() == at_larger);
    again = {};
    again = pool.allocate("y", 79 * mib);
    CHECK(again.as() == at_large);
    CHECK(pool.statistics().current == 79 * mib);  // what was asked for, not what the block holds
    CHECK(pool.statistics().reserved == 168 * mib);
    CHECK(pool.statistics().reused == 2);
    again = {};
    CHECK(pool.statistics().current == 0);
    again = pool.allocate("y", 70 * mib);  // 80 is more than 1/8 above
    CHECK(pool.statistics().reused == 2);
    CHECK(pool.statistics().reserved == 238 * mib);
    again = {};

    Allocation small = pool.allocate("s", 1024);
    small = {};
    small = pool.allocate("s", 768);  // small ones up to the next power of two
    CHECK(pool.statistics().reused == 3);
    small = {};
    small = pool.allocate("s", 512);
    CHECK(pool.statistics().reused == 3);
  }

  TEST_CASE("blocks outlive the pool object") {
    FakeMemory memory;
    Allocation held;
    {
      MemoryPool pool(memory.source());
      held = pool.allocate("held", 1 * kib);
      pool.allocate("cached", 1 * mib);
    }
    std::memset(held.as(), 7, held.bytes());
    CHECK(memory.bytes() > 0);
    held = {};
    CHECK(memory.bytes() == 0);
    CHECK(memory.events == 0);
  }

  TEST_CASE("threads may share a pool") {
    MemoryPool pool(host_memory(), 64 * mib);
    std::atomic<int> wrong = 0;
    std::vector<std::thread> threads;
    for (int id = 0; id < 4; ++id) {
      threads.emplace_back([&pool, &wrong, id] {
        for (int round = 0; round < 200; ++round) {
          const Allocation a = pool.allocate("a", 1000 + 500 * static_cast<size_t>(round % 7));
          const Allocation b = pool.allocate("b", 64);
          std::memset(a.as(), id, a.bytes());
          std::memset(b.as(), id, b.bytes());
          (void)pool.entries();
          for (size_t i = 0; i < a.bytes(); i += 97) wrong += a.as<char>()[i] != id;
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(wrong == 0);
    CHECK(pool.statistics().current == 0);
    CHECK(pool.statistics().allocations == 4 * 200 * 2);
  }

  TEST_CASE("host memory is aligned and usable to the last byte") {
    MemoryPool pool(host_memory());
    for (const size_t bytes : {size_t{1}, 5 * kib, 4 * mib - 1, 4 * mib, 4 * mib + 256, 9 * mib + 5}) {
      const Allocation a = pool.allocate("a", bytes);
      CHECK(reinterpret_cast<uintptr_t>(a.as()) % 4096 == 0);
      if (bytes >= 4 * mib) CHECK(reinterpret_cast<uintptr_t>(a.as()) % (2 * mib) == 0);
      std::memset(a.as(), 1, MemoryPool::rounded(bytes));
    }
    CHECK(contains(refusal([&] { (void)pool.allocate("huge", size_t{1} << 60); }), "\"huge\""));
    CHECK(contains(refusal([&] { (void)pool.allocate("huge", std::numeric_limits<size_t>::max()); }), "\"huge\""));
  }
}

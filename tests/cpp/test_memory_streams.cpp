#include <doctest/doctest.h>

#include <cstdint>
#include <vector>

#include "fake_memory.h"
#include "sparsexmc/memory_pool.h"

using namespace sparsexmc;

namespace {

constexpr size_t kib = 1024;

}  // namespace

TEST_SUITE("memory_streams") {
  TEST_CASE("reuse on the same stream is immediate") {
    FakeMemory memory;
    MemoryPool pool(memory.source());
    Allocation a = pool.allocate("a", 1 * kib, memory.stream(0));
    const void* data = a.as();
    memory.use(a.as(), 0);
    a = {};
    a = pool.allocate("a", 1 * kib, memory.stream(0));
    CHECK(a.as() == data);
    CHECK(memory.waits == 0);
    CHECK(memory.events == 0);  // the event went with the reuse
  }

  TEST_CASE("reuse on another stream takes a finished block first, else it waits") {
    FakeMemory memory;
    MemoryPool pool(memory.source());
    Allocation busy = pool.allocate("busy", 16 * kib, memory.stream(0));
    Allocation idle = pool.allocate("idle", 17 * kib, memory.stream(2));
    const void *at_busy = busy.as(), *at_idle = idle.as();
    memory.use(busy.as(), 0);
    busy = {}, idle = {};
    const Allocation first = pool.allocate("first", 16 * kib, memory.stream(1));
    CHECK(first.as() == at_idle);  // larger, but free of work
    CHECK(memory.waits == 0);
    Allocation second = pool.allocate("second", 16 * kib, memory.stream(1));
    CHECK(second.as() == at_busy);
    CHECK(memory.waits == 1);
    second = {};
    memory.finish(0);
    memory.finish(1);
    second = pool.allocate("second", 16 * kib, memory.stream(2));
    CHECK(second.as() == at_busy);
    CHECK(memory.waits == 1);
  }

  TEST_CASE("without a way to wait, a busy block is left alone") {
    FakeMemory memory;
    MemorySource source = memory.source();
    source.wait = nullptr;
    MemoryPool pool(source);
    Allocation a = pool.allocate("a", 1 * kib, memory.stream(0));
    const void* data = a.as();
    memory.use(a.as(), 0);
    a = {};
    const Allocation b = pool.allocate("b", 1 * kib, memory.stream(1));
    CHECK(b.as() != data);
  }

  TEST_CASE("no work ever meets a block that another stream still uses") {
    FakeMemory memory;
    memory.capacity = 64 * kib;
    uint32_t state = 1;  // a small generator of our own: the sequence must not depend on the standard library
    const auto random = [&](uint32_t n) {
      state = state * 1664525u + 1013904223u;
      return (state >> 8) % n;
    };
    {
      MemoryPool pool(memory.source());
      std::vector<Allocation> held(6);
      for (int step = 0; step < 5000; ++step) {
        const uint32_t s = random(FakeMemory::streams);
        Allocation& slot = held[random(6)];
        const uint32_t action = random(8);
        if (action < 4) {
          slot = {};
          slot = pool.allocate("block", 256 * (1 + random(12)), memory.stream(s));
          memory.begin(slot.as(), s);  // counts a hazard
        } else if (action < 7) {
          if (slot) memory.use(slot.as(), memory.owner(slot.as()));
        } else {
          memory.finish(s);
        }
      }
      CHECK(pool.statistics().reused > 1000);
      CHECK(memory.waits > 100);
    }
    CHECK(memory.hazards == 0);
    CHECK(memory.bytes() == 0);
    CHECK(memory.events == 0);
  }
}

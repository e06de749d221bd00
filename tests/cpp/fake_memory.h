// A memory source with streams that run nothing: work is a count, finished when a test says so.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <map>

#include "sparsexmc/memory_pool.h"

/// Knows who waits for whom by vector clocks: clock[s][t] is the work of stream t that stream s has waited for.
class FakeMemory {
 public:
  static constexpr uint32_t streams = 3;
  using Clock = std::array<int64_t, streams>;

  FakeMemory() = default;
  FakeMemory(const FakeMemory&) = delete;
  FakeMemory& operator=(const FakeMemory&) = delete;

  sparsexmc::MemorySource source() {
    return {[](size_t bytes, void* user) { return self(user).allocate(bytes); },
            [](void* data, size_t bytes, void* user) { self(user).release(data, bytes); },
            [](sparsexmc::Stream stream, void* user) { return self(user).record(number(stream)); },
            [](void* event, void* user) { return self(user).finished(*static_cast<Event*>(event)); },
            [](sparsexmc::Stream stream, void* event, void* user) {
              self(user).wait(number(stream), *static_cast<Event*>(event));
            },
            [](void* event, void* user) {
              delete static_cast<Event*>(event);
              --self(user).events;
            },
            this};
  }

  /// Stream 0 is the null stream.
  sparsexmc::Stream stream(uint32_t s) { return {s == 0 ? nullptr : static_cast<void*>(&handles_[s])}; }

  /// Stream s takes the block over: a hazard if another stream's work on it is neither done nor waited for.
  void begin(void* data, uint32_t s) {
    Block& block = blocks_.at(data);
    for (uint32_t t = 0; t < streams; ++t)
      if (t != s && block.last_use[t] > std::max(done_[t], clocks_[s][t])) ++hazards;
    block.owner = s;
    use(data, s);
  }

  /// Stream s gets work on the block.
  void use(void* data, uint32_t s) { blocks_.at(data).last_use[s] = ++clocks_[s][s]; }
  uint32_t owner(void* data) const { return blocks_.at(data).owner; }
  /// All work of stream s so far has run.
  void finish(uint32_t s) {
    for (uint32_t t = 0; t < streams; ++t) done_[t] = std::max(done_[t], clocks_[s][t]);
  }

  size_t bytes() const { return bytes_; }

  size_t capacity = SIZE_MAX;
  int waits = 0;
  int events = 0;  // not destroyed yet
  int hazards = 0;

 private:
  struct Block {
    Clock last_use{};
    uint32_t owner = 0;
  };
  struct Event {
    uint32_t stream;
    Clock clock;
  };

  static FakeMemory& self(void* user) { return *static_cast<FakeMemory*>(user); }
  static uint32_t number(sparsexmc::Stream stream) {
    return stream.handle == nullptr ? 0 : *static_cast<const uint32_t*>(stream.handle);
  }

  void* allocate(size_t bytes) {
    if (bytes > capacity - bytes_) return nullptr;
    bytes_ += bytes;
    void* data = std::malloc(bytes);
    blocks_[data] = {};
    return data;
  }

  void release(void* data, size_t bytes) {
    bytes_ -= bytes;
    blocks_.erase(data);
    std::free(data);
  }

  void* record(uint32_t s) {
    ++events;
    return new Event{s, clocks_[s]};
  }

  bool finished(const Event& event) const { return event.clock[event.stream] <= done_[event.stream]; }

  void wait(uint32_t s, const Event& event) {
    ++waits;
    for (uint32_t t = 0; t < streams; ++t) clocks_[s][t] = std::max(clocks_[s][t], event.clock[t]);
  }

  uint32_t handles_[streams] = {0, 1, 2};
  size_t bytes_ = 0;
  std::map<void*, Block> blocks_;
  std::array<Clock, streams> clocks_{};
  Clock done_{};
};

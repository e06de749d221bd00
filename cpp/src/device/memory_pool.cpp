// Policy of the pool. Reuse: a cached block serves a request if it is not much larger (see fits); the best one is ready
// on the stream at once, then the smallest. The limit holds for the sum of the rounded requests; cached blocks go back
// to the source before `reserved` passes it, so the slack of reused blocks is all that can lie above.
#include "sparsexmc/memory_pool.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <map>
#include <mutex>
#include <utility>

#include "sparsexmc/error.h"

namespace sparsexmc {
namespace {

constexpr size_t small_block = size_t{1} << 20;  // up to here a cached block may be up to twice the request

struct Block {
  std::string name;
  size_t counted = 0;     // rounded request, what `current` counts
  size_t bytes = 0;       // real size
  Stream stream;          // of the last user
  void* event = nullptr;  // recorded at release; null: no work is left
};
using Blocks = std::map<void*, Block>;  // by address; nodes move between live and free without allocating

/// Unused bytes are bounded: 1/8 of a large request; small ones share blocks up to the next power of two.
bool fits(size_t block, size_t request) {
  if (block < request) return false;
  return block - request <= request / 8 || (request <= small_block && block <= std::bit_ceil(request));
}

std::vector<MemoryEntry> entries_of(const Blocks& blocks) {
  std::map<std::string, size_t> sums;
  for (const auto& [data, block] : blocks) sums[block.name] += block.counted;
  std::vector<MemoryEntry> entries;
  for (const auto& [name, bytes] : sums) entries.push_back({name, bytes});
  std::stable_sort(entries.begin(), entries.end(),
                   [](const MemoryEntry& a, const MemoryEntry& b) { return a.bytes > b.bytes; });
  return entries;
}

}  // namespace

struct PoolState {
  PoolState(MemorySource memory_source, size_t memory_limit) : source(memory_source), limit(memory_limit) {}
  ~PoolState() { trim(); }

  bool ready(const Block& block, Stream stream) const {
    return block.event == nullptr || block.stream.handle == stream.handle ||
           (source.finished != nullptr && source.finished(block.event, source.user));
  }

  void forget_event(Block& block) const {
    if (block.event != nullptr && source.destroy != nullptr) source.destroy(block.event, source.user);
    block.event = nullptr;
  }

  /// The best cached block for the request, or the end.
  Blocks::iterator find_free(size_t request, Stream stream) {
    auto best = free.end();
    bool best_ready = false;
    for (auto candidate = free.begin(); candidate != free.end(); ++candidate) {
      const Block& block = candidate->second;
      if (!fits(block.bytes, request)) continue;
      const bool is_ready = ready(block, stream);
      if (!is_ready && source.wait == nullptr) continue;
      if (best == free.end() || std::pair(!is_ready, block.bytes) < std::pair(!best_ready, best->second.bytes)) {
        best = candidate;
        best_ready = is_ready;
      }
    }
    if (best != free.end() && !best_ready) source.wait(stream, best->second.event, source.user);
    return best;
  }

  void* take_from_source(const std::string& name, size_t bytes) {
    if (limit != 0 && (reserved > limit || bytes > limit - reserved)) trim();
    void* data = source.allocate(bytes, source.user);
    if (data == nullptr && !free.empty()) {
      trim();
      data = source.allocate(bytes, source.user);
    }
    if (data == nullptr) throw MemoryPlanError(refusal(name, bytes, "the device has no more memory"));
    reserved += bytes;
    return data;
  }

  std::string refusal(const std::string& name, size_t bytes, const std::string& reason) const {
    std::string text = "cannot allocate \"" + name + "\" of " + std::to_string(bytes) + " bytes: " + reason + " (" +
                       std::to_string(current) + " bytes in use";
    if (limit != 0) text += " of a memory_limit of " + std::to_string(limit);
    text += ')';
    const std::vector<MemoryEntry> entries = entries_of(live);
    for (size_t i = 0; i < std::min<size_t>(3, entries.size()); ++i)
      text += (i == 0 ? "; largest: " : ", ") + entries[i].name + " " + std::to_string(entries[i].bytes);
    return text + "; use a smaller batch_size, fan_in or dense_labels, or allow more memory";
  }

  void* allocate(const std::string& name, size_t bytes, Stream stream) {
    const size_t request = MemoryPool::rounded(bytes);
    const std::lock_guard lock(mutex);
    if (limit != 0 && (current > limit || request > limit - current))
      throw MemoryPlanError(refusal(name, request, "that passes the limit"));

    std::string copy = name;  // may throw, so before anything changes
    const auto cached = find_free(request, stream);
    void* data;
    if (cached != free.end()) {
      auto node = free.extract(cached);
      data = node.key();
      forget_event(node.mapped());
      node.mapped() = Block{std::move(copy), request, node.mapped().bytes, stream};
      live.insert(std::move(node));
      ++reused;
    } else {
      data = take_from_source(name, request);
      try {
        live.emplace(data, Block{std::move(copy), request, request, stream});
      } catch (...) {
        source.release(data, request, source.user);
        reserved -= request;
        throw;
      }
    }
    ++allocations;
    current += request;
    peak = std::max(peak, current);
    return data;
  }

  void release(void* data) noexcept {
    const std::lock_guard lock(mutex);
    auto node = live.extract(data);
    Block& block = node.mapped();
    current -= block.counted;
    if (source.record != nullptr) block.event = source.record(block.stream, source.user);
    free.insert(std::move(node));
  }

  void trim() noexcept {
    for (auto& [data, block] : free) {
      forget_event(block);
      source.release(data, block.bytes, source.user);
      reserved -= block.bytes;
    }
    free.clear();
  }

  const MemorySource source;
  const size_t limit;
  mutable std::mutex mutex;  // guards all below
  Blocks live, free;
  size_t current = 0, peak = 0, reserved = 0;
  int64_t allocations = 0, reused = 0;
};

Allocation::Allocation(Allocation&& other) noexcept
    : pool_(std::move(other.pool_)),
      data_(std::exchange(other.data_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)) {}

Allocation& Allocation::operator=(Allocation&& other) noexcept {
  Allocation moved(std::move(other));  // holds our own block afterwards, and gives it back
  std::swap(pool_, moved.pool_);
  std::swap(data_, moved.data_);
  std::swap(bytes_, moved.bytes_);
  return *this;
}

Allocation::~Allocation() {
  if (data_ != nullptr) pool_->release(data_);
}

MemoryPool::MemoryPool(MemorySource source, size_t limit) : state_(std::make_shared<PoolState>(source, limit)) {}

size_t MemoryPool::rounded(size_t bytes) {
  constexpr size_t largest = std::numeric_limits<size_t>::max() / granularity * granularity;
  return bytes > largest ? largest : (bytes + granularity - 1) / granularity * granularity;
}

Allocation MemoryPool::allocate(const std::string& name, size_t bytes, Stream stream) {
  Allocation allocation;
  if (bytes == 0) return allocation;
  allocation.data_ = state_->allocate(name, bytes, stream);
  allocation.pool_ = state_;
  allocation.bytes_ = bytes;
  return allocation;
}

MemoryStatistics MemoryPool::statistics() const {
  const std::lock_guard lock(state_->mutex);
  return {state_->current, state_->peak, state_->reserved, state_->limit, state_->allocations, state_->reused};
}

std::vector<MemoryEntry> MemoryPool::entries() const {
  const std::lock_guard lock(state_->mutex);
  return entries_of(state_->live);
}

void MemoryPool::reset_peak() {
  const std::lock_guard lock(state_->mutex);
  state_->peak = state_->current;
}

void MemoryPool::trim() {
  const std::lock_guard lock(state_->mutex);
  state_->trim();
}

}  // namespace sparsexmc

// The memory pool: every byte the library holds comes from here and has a name.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "sparsexmc/device.h"
#include "sparsexmc/export.h"

namespace sparsexmc {

/// The raw memory below a pool. The policy above it (size classes, reuse, limit, statistics) knows no device.
/// Events order reuse across streams; the CPU has none: its event hooks are null, or record returns null. Hooks do not
/// throw; release waits for work that may still use the block, as cudaFree does.
struct MemorySource {
  void* (*allocate)(size_t bytes, void* user);  ///< null when out of memory
  void (*release)(void* data, size_t bytes, void* user);
  void* (*record)(Stream stream, void* user);            ///< marks "all work queued on stream so far"
  bool (*finished)(void* event, void* user);             ///< has that work run?
  void (*wait)(Stream stream, void* event, void* user);  ///< stream waits for that work
  void (*destroy)(void* event, void* user);
  void* user;
};

/// Page-aligned host memory, huge pages for large blocks.
SPARSEXMC_API MemorySource host_memory();

struct MemoryEntry {
  std::string name;
  size_t bytes;
};

struct MemoryStatistics {
  size_t current;       ///< bytes in live allocations (rounded to the pool's granularity)
  size_t peak;          ///< largest `current` so far
  size_t reserved;      ///< bytes taken from the source, cached free blocks included
  size_t limit;         ///< 0: none
  int64_t allocations;  ///< calls of allocate() so far
  int64_t reused;       ///< of these, served from cached blocks
};

class MemoryPool;

/// Owns one block; gives it back when destroyed.
class SPARSEXMC_API Allocation {
 public:
  Allocation() = default;
  Allocation(Allocation&& other) noexcept;
  Allocation& operator=(Allocation&& other) noexcept;
  ~Allocation();

  template <class T = void>
  T* as() const {
    return static_cast<T*>(data_);
  }
  /// As asked for, not rounded.
  size_t bytes() const { return bytes_; }
  explicit operator bool() const { return data_ != nullptr; }

 private:
  friend class MemoryPool;
  std::shared_ptr<struct PoolState> pool_;
  void* data_ = nullptr;
  size_t bytes_ = 0;
};

/// Named allocations with a limit and statistics. Thread-safe. Blocks outlive the pool object if still held.
class SPARSEXMC_API MemoryPool {
 public:
  static constexpr size_t granularity = 256;

  explicit MemoryPool(MemorySource source, size_t limit = 0);

  /// Bytes that a request of `bytes` counts and reserves: a multiple of `granularity`; 0 stays 0.
  static size_t rounded(size_t bytes);

  /// @param name what the block is for, e.g. "segments.1.weights"
  /// @param stream where the block is used first and last: once it is free, work of that stream may have it at once
  /// @throws MemoryPlanError if the limit would be passed (nothing is allocated) or the source has no more.
  Allocation allocate(const std::string& name, size_t bytes, Stream stream = {});

  MemoryStatistics statistics() const;
  /// Live allocations by name, largest first; equal names are summed.
  std::vector<MemoryEntry> entries() const;
  /// Sets peak to current.
  void reset_peak();
  /// Returns cached free blocks to the source.
  void trim();

 private:
  std::shared_ptr<struct PoolState> state_;
};

}  // namespace sparsexmc

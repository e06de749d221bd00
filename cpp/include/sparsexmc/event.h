// Marks in the queues of streams, by which work in one stream waits for work in another.
#pragma once

#include "sparsexmc/device.h"
#include "sparsexmc/export.h"
#include "sparsexmc/memory_pool.h"

namespace sparsexmc {

/// Everything that was queued on a stream up to some moment.
class SPARSEXMC_API Event {
 public:
  /// Nothing at all; it has passed.
  Event() = default;
  /// Marks the work that is queued on `stream` now. On the CPU nothing ever is.
  Event(Device device, Stream stream);
  Event(Event&& other) noexcept;
  Event& operator=(Event&& other) noexcept;
  ~Event();

  /// Whether it has all run.
  bool passed() const;
  /// Work that is queued on `stream` from now on runs after it.
  void hold_back(Stream stream) const;

 private:
  MemorySource hooks_{};
  void* mark_ = nullptr;
};

}  // namespace sparsexmc

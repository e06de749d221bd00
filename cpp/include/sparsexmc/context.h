// What every operation runs in: device, stream, memory pool, worker threads.
#pragma once

#include <cstddef>
#include <memory>

#include "sparsexmc/device.h"
#include "sparsexmc/memory_pool.h"
#include "sparsexmc/thread_pool.h"

namespace sparsexmc {

/// Owns the pool and the threads. One Context may serve several models; it must outlive them.
class Context {
 public:
  /// @param num_threads see ThreadPool
  /// @param memory_limit bytes; 0: none
  explicit Context(Device device = {}, int num_threads = 0, size_t memory_limit = 0);

  Device device() const { return device_; }
  Stream stream() const { return stream_; }
  void set_stream(Stream stream) { stream_ = stream; }
  MemoryPool& pool() { return pool_; }
  const MemoryPool& pool() const { return pool_; }
  ThreadPool& threads() { return threads_; }

 private:
  Device device_;
  Stream stream_;
  MemoryPool pool_;
  ThreadPool threads_;
};

}  // namespace sparsexmc

// The context of every operation: device, stream, memory pools, worker threads.
#pragma once

#include <cstddef>
#include <memory>

#include "sparsexmc/device.h"
#include "sparsexmc/export.h"
#include "sparsexmc/memory_pool.h"
#include "sparsexmc/thread_pool.h"

namespace sparsexmc {

/// Owns a stream, the pools and the threads. Several classifiers may share one; their calls must then take turns, as
/// those of one classifier do.
class SPARSEXMC_API Context {
 public:
  /// @param num_threads see ThreadPool
  /// @param memory_limit bytes of pool(); 0: none
  /// @throws DeviceError if the device cannot be used
  explicit Context(Device device = {}, int num_threads = 0, size_t memory_limit = 0);
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  Device device() const { return device_; }
  /// Where work is queued: at first a stream of the Context's own.
  Stream stream() const { return stream_; }
  /// Queues further work on a stream of the caller, after what is queued on the present one. The stream must live as
  /// long as it is set. @throws ArgumentError if it is being captured into a graph
  void set_stream(Stream stream);
  /// The Context's own stream, which lives as long as its memory.
  Stream own_stream() const { return own_stream_; }
  /// Memory of the device.
  MemoryPool& pool() { return pool_; }
  const MemoryPool& pool() const { return pool_; }
  /// Host memory for copies to and from the device: page-locked on CUDA, not used on the CPU.
  MemoryPool& staging() { return staging_; }
  /// Pageable host memory for what a model on a GPU keeps on the host; not used on the CPU, where pool() is the host's.
  MemoryPool& host_pool() { return host_pool_; }
  ThreadPool& threads() { return threads_; }

 private:
  Device device_;
  ThreadPool threads_;
  Stream own_stream_;
  Stream stream_;
  MemoryPool pool_;
  MemoryPool staging_;
  MemoryPool host_pool_;
};

}  // namespace sparsexmc

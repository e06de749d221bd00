// Shared memory of the block and the cluster, and the asynchronous copies into it.
#include <cstring>

#include "machine_state.h"

namespace sparsexmc::shim {

namespace {

constexpr size_t copy_bytes = 16;

SPARSEXMC_SHIM_HARNESS bool aligned(const void* address) {
  return reinterpret_cast<uintptr_t>(address) % copy_bytes == 0;
}

SPARSEXMC_SHIM_HARNESS bool in_shared(const Machine& m, const void* address, size_t bytes) {
  const uintptr_t begin = reinterpret_cast<uintptr_t>(m.current->warp->block->shared);
  const uintptr_t at = reinterpret_cast<uintptr_t>(address);
  return at >= begin && at + bytes <= begin + m.grid.shared;
}

// These two are accesses of the kernel, which the sanitizers are to see.
void poison(unsigned char* target) { std::memset(target, 0xFF, copy_bytes); }

void perform(unsigned char* target, const unsigned char* source) {
  if (source) {
    std::memcpy(target, source, copy_bytes);
  } else {
    std::memset(target, 0, copy_bytes);
  }
}

}  // namespace

SPARSEXMC_SHIM_HARNESS unsigned char* block_shared() { return this_machine->current->warp->block->shared; }

SPARSEXMC_SHIM_HARNESS void check_shared_row(const void* address, const char* operation) {
  if (!aligned(address)) fail("%s of an address that is no multiple of 16", operation);
  if (!in_shared(*this_machine, address, copy_bytes)) fail("%s outside of the block's shared memory", operation);
}

SPARSEXMC_SHIM_HARNESS void* cluster_map(void* shared, unsigned rank) {
  Machine& m = *this_machine;
  if (rank >= m.grid.cluster) fail("cluster_map to block %u of a cluster of %u", rank, m.grid.cluster);
  if (!in_shared(m, shared, 0)) fail("cluster_map of an address outside of the block's shared memory");
  return m.blocks[rank].shared + (static_cast<unsigned char*>(shared) - block_shared());
}

SPARSEXMC_SHIM_HARNESS void copy_async(void* target, const void* source) {
  check_shared_row(target, "asynchronous copy");
  if (!aligned(source)) fail("asynchronous copy from an address that is no multiple of 16");
  CopyQueue& queue = this_machine->current->copies;
  if (queue.end - queue.first == CopyQueue::capacity) {
    fail("more than %u asynchronous copies of one thread; raise CopyQueue::capacity", CopyQueue::capacity);
  }
  unsigned char* bytes = static_cast<unsigned char*>(target);
  queue.copies[queue.end++ % CopyQueue::capacity] = {bytes, static_cast<const unsigned char*>(source),
                                                     queue.open_group};
  poison(bytes);
}

SPARSEXMC_SHIM_HARNESS void copy_async_commit() { ++this_machine->current->copies.open_group; }

SPARSEXMC_SHIM_HARNESS void copy_async_wait(unsigned groups_left) {
  CopyQueue& queue = this_machine->current->copies;
  while (queue.first != queue.end) {
    const CopyQueue::Copy copy = queue.copies[queue.first % CopyQueue::capacity];
    if (copy.group + groups_left >= queue.open_group) break;
    ++queue.first;
    perform(copy.target, copy.source);
  }
}

}  // namespace sparsexmc::shim

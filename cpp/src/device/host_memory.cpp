#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <limits>

#include "sparsexmc/memory_pool.h"

namespace sparsexmc {
namespace {

constexpr size_t alignment = 4096;
constexpr size_t huge_page = size_t{2} << 20;
constexpr size_t huge_page_block = size_t{4} << 20;  // from here on huge pages pay

size_t rounded_up(size_t bytes, size_t multiple) { return (bytes + multiple - 1) / multiple * multiple; }

size_t whole_pages(size_t bytes) { return rounded_up(bytes, static_cast<size_t>(sysconf(_SC_PAGESIZE))); }

/// A mapping one huge page too long, cut to the part that begins on a huge page.
void* map_huge_pages(size_t bytes) {
  const size_t length = whole_pages(bytes);
  void* mapping = mmap(nullptr, length + huge_page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping == MAP_FAILED) return nullptr;
  const auto address = reinterpret_cast<uintptr_t>(mapping);
  const size_t before = rounded_up(address, huge_page) - address;
  char* begin = static_cast<char*>(mapping) + before;
  if (before != 0) munmap(mapping, before);
  munmap(begin + length, huge_page - before);
#if defined(MADV_HUGEPAGE)
  madvise(begin, length, MADV_HUGEPAGE);  // only advice: all works without
#endif
  return begin;
}

void* allocate_host(size_t bytes, void*) {
  if (bytes > std::numeric_limits<size_t>::max() / 2) return nullptr;  // so that rounding up cannot overflow
  return bytes < huge_page_block ? std::aligned_alloc(alignment, rounded_up(bytes, alignment)) : map_huge_pages(bytes);
}

void release_host(void* data, size_t bytes, void*) {
  if (bytes < huge_page_block) {
    std::free(data);
  } else {
    munmap(data, whole_pages(bytes));
  }
}

}  // namespace

MemorySource host_memory() { return {allocate_host, release_host, nullptr, nullptr, nullptr, nullptr, nullptr}; }

}  // namespace sparsexmc

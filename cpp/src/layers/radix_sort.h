// Stable least-significant-digit radix sort for the short lists of a batch.
#pragma once

#include <array>
#include <cstdint>
#include <utility>

namespace sparsexmc {

/// Sorts `count` items by key(item) < `bound`, keeping the order of equal keys.
/// @param spare room for `count` items
/// @returns where the result lies: `items` or `spare`
template <class T, class Key>
T* radix_sort(T* items, T* spare, int64_t count, uint32_t bound, Key key) {
  constexpr int digit_bits = 11;
  for (int shift = 0; shift < 32 && (bound >> shift) != 0; shift += digit_bits) {
    std::array<int64_t, 1 << digit_bits> start{};
    const auto digit = [&](const T& item) { return key(item) >> shift & ((1u << digit_bits) - 1); };
    for (int64_t i = 0; i < count; ++i) ++start[digit(items[i])];
    int64_t sum = 0;
    for (int64_t& s : start) sum += std::exchange(s, sum);
    for (int64_t i = 0; i < count; ++i) spare[start[digit(items[i])]++] = items[i];
    std::swap(items, spare);
  }
  return items;
}

}  // namespace sparsexmc

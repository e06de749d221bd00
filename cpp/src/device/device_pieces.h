// Arrays of a device under the eyes of the host, piece by piece: a large tensor is never held twice.
#pragma once

#include <algorithm>
#include <vector>

#include "device/visit_device.h"

namespace sparsexmc {

inline constexpr int64_t piece_bytes = int64_t{16} << 20;

/// Calls body(items, first, n) over `count` items of `item_bytes` in turn. On the CPU that is the array itself in one
/// call, elsewhere a copy of a few items.
template <class Body>
void read_in_pieces(Context& context, const void* data, int64_t count, int64_t item_bytes, Body&& body) {
  if (context.device().kind == DeviceKind::cpu) return body(data, int64_t{0}, count);
  const int64_t step = std::clamp<int64_t>(piece_bytes / item_bytes, 1, std::max<int64_t>(count, 1));
  std::vector<char> piece(static_cast<size_t>(step * item_bytes));
  for (int64_t first = 0; first < count; first += step) {
    const int64_t n = std::min(step, count - first);
    visit_device(context.device(), [&](auto tag) {
      kernels::read_device(tag, context, piece.data(), static_cast<const char*>(data) + first * item_bytes,
                           static_cast<size_t>(n * item_bytes));
    });
    body(static_cast<const void*>(piece.data()), first, n);
  }
}

/// The same for writing: body fills the items. What it leaves out becomes zero, or on the CPU stays as it is.
template <class Body>
void write_in_pieces(Context& context, void* data, int64_t count, int64_t item_bytes, Body&& body) {
  if (context.device().kind == DeviceKind::cpu) return body(data, int64_t{0}, count);
  const int64_t step = std::clamp<int64_t>(piece_bytes / item_bytes, 1, std::max<int64_t>(count, 1));
  std::vector<char> piece(static_cast<size_t>(step * item_bytes));
  for (int64_t first = 0; first < count; first += step) {
    const int64_t n = std::min(step, count - first), bytes = n * item_bytes;
    std::fill(piece.begin(), piece.end(), char{0});
    body(static_cast<void*>(piece.data()), first, n);
    visit_device(context.device(), [&](auto tag) {
      kernels::write_device(tag, context, static_cast<char*>(data) + first * item_bytes, piece.data(),
                            static_cast<size_t>(bytes));
    });
  }
}

}  // namespace sparsexmc

#include "layers/tensor_io.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>

#include "device/bfloat16.h"
#include "device/device_pieces.h"
#include "finite.h"
#include "integers.h"
#include "sparsexmc/error.h"

namespace sparsexmc {
namespace {

bool is_weight_dtype(DType dtype) { return dtype == DType::float32 || dtype == DType::bfloat16; }

size_t bytes_outside(const TensorSpec& spec) {
  return static_cast<size_t>(spec.lines() * spec.width()) * dtype_size(spec.dtype);
}

/// [rows, fan_in] of the groups from `first` on <- [groups, fan_in, group_size], or back.
template <bool to_rows, class Rows, class Grouped>
void copy_groups(Rows* rows, Grouped* grouped, const TensorSpec& s, int64_t first, int64_t groups) {
  const int64_t fan_in = s.width(), last_row = std::min((first + groups) * s.group_size, s.lines());
  for (int64_t row = first * s.group_size; row < last_row; ++row) {
    Grouped* group = grouped + (row / s.group_size - first) * fan_in * s.group_size + row % s.group_size;
    Rows* line = rows + row * fan_in;
    for (int64_t f = 0; f < fan_in; ++f) {
      if constexpr (to_rows)
        line[f] = Rows(group[f * s.group_size]);
      else
        group[f * s.group_size] = Grouped(line[f]);
    }
  }
  // What overflowed in a training that diverged is also in the rows of padding, which take part in products.
  if constexpr (!to_rows)
    for (int64_t row = last_row; row < (first + groups) * s.group_size; ++row)
      for (int64_t f = 0; f < fan_in; ++f)
        grouped[((row / s.group_size - first) * fan_in + f) * s.group_size + row % s.group_size] = Grouped(Rows(0.0f));
}

/// Calls body(number of the type in memory, number of the type outside, bytes of a group).
template <class Body>
void visit_grouped(const TensorSpec& s, DType outside, Body&& body) {
  visit_stored(s.dtype, [&](auto stored) {
    visit_stored(outside, [&](auto given) {
      body(stored, given, s.width() * s.group_size * static_cast<int64_t>(sizeof stored));
    });
  });
}

int64_t groups_of(const TensorSpec& s) { return ceil_div(s.lines(), s.group_size); }

template <class Number>
void check_lines(const Number* numbers, const TensorSpec& s) {
  for (int64_t line = 0; line < s.lines(); ++line)
    for (int64_t f = 0; f < s.width(); ++f) {
      const int64_t i = line * s.width() + f;
      if (static_cast<int64_t>(numbers[i]) >= s.below || (f > 0 && numbers[i] <= numbers[i - 1]))
        throw ArgumentError(s.name + ": " + std::to_string(numbers[i]) + " at [" + std::to_string(line) + ", " +
                            std::to_string(f) + "]; rows must rise strictly and stay below " + std::to_string(s.below));
    }
}

void check_table(const uint32_t* numbers, const TensorSpec& s) {
  for (int64_t label = 0; label < s.lines(); ++label)
    if (numbers[label] >= s.below)
      throw ArgumentError(s.name + ": " + std::to_string(numbers[label]) + " for label " + std::to_string(label) +
                          "; numbers must lie in 0.." + std::to_string(s.below - 1));
}

void check_finite(const void* data, const TensorSpec& s, DType dtype) {
  if (s.role == Role::optimizer_state || !is_weight_dtype(dtype)) return;
  const auto* bytes = static_cast<const char*>(data);
  for (int64_t line = 0; line < s.lines(); ++line, bytes += static_cast<size_t>(s.width()) * dtype_size(dtype))
    if (!all_finite(bytes, dtype, s.width()))
      throw ArgumentError(s.name + ": NaN or Inf in row " + std::to_string(line) +
                          ", as a training that diverged leaves it; take a state from before");
}

void check_numbers(const void* data, const TensorSpec& s) {
  if (s.below == 0) return;
  if (s.layout == Layout::host_table)
    check_table(static_cast<const uint32_t*>(data), s);
  else if (s.dtype == DType::uint16)
    check_lines(static_cast<const uint16_t*>(data), s);
  else
    check_lines(static_cast<const uint32_t*>(data), s);
}

}  // namespace

void check_host_dtype(const TensorSpec& spec, DType dtype) {
  if (dtype == spec.dtype || (spec.layout == Layout::grouped && is_weight_dtype(dtype))) return;
  throw ArgumentError("tensor \"" + spec.name + "\" is " + dtype_name(spec.dtype) + ", the array " + dtype_name(dtype) +
                      "; use the tensor's own dtype");
}

void read_tensor(Context& context, const Buffers& buffers, const TensorSpec& spec, void* out, DType dtype) {
  switch (spec.layout) {
    case Layout::plain:
      visit_device(context.device(), [&](auto tag) {
        kernels::read_device(tag, context, out, buffers.get<void>(spec.name), bytes_outside(spec));
      });
      return;
    case Layout::grouped:
      visit_grouped(spec, dtype, [&]<class Grouped, class Rows>(Grouped, Rows, int64_t group_bytes) {
        read_in_pieces(context, buffers.get<void>(spec.name), groups_of(spec), group_bytes,
                       [&](const void* piece, int64_t first, int64_t groups) {
                         copy_groups<true>(static_cast<Rows*>(out), static_cast<const Grouped*>(piece), spec, first,
                                           groups);
                       });
      });
      return;
    case Layout::order:
      std::copy_n(buffers.host_table<uint32_t>(spec.name), spec.lines(), static_cast<int64_t*>(out));
      return;
    case Layout::host_table:
      std::memcpy(out, buffers.host_table<void>(spec.name), bytes_outside(spec));
      return;
  }
}

void write_tensor(Context& context, const Buffers& buffers, const TensorSpec& spec, const void* data, DType dtype) {
  check_numbers(data, spec);
  check_finite(data, spec, dtype);
  switch (spec.layout) {
    case Layout::plain:
      visit_device(context.device(), [&](auto tag) {
        kernels::write_device(tag, context, buffers.get<void>(spec.name), data, bytes_outside(spec));
      });
      return;
    case Layout::grouped:
      visit_grouped(spec, dtype, [&]<class Grouped, class Rows>(Grouped, Rows, int64_t group_bytes) {
        write_in_pieces(context, buffers.get<void>(spec.name), groups_of(spec), group_bytes,
                        [&](void* piece, int64_t first, int64_t groups) {
                          copy_groups<false>(static_cast<const Rows*>(data), static_cast<Grouped*>(piece), spec, first,
                                             groups);
                        });
      });
      return;
    case Layout::order:
      throw std::logic_error("'" + spec.name + "' is written by LabelOrder::set()");
    case Layout::host_table:
      std::memcpy(buffers.host_table<void>(spec.name), data, bytes_outside(spec));
      return;
  }
}

}  // namespace sparsexmc

// Takes connections out of a group and puts others in: indices stay ascending, survivors keep their weights, state
// and average.
#pragma once

#include "row_weights.cuh"

namespace sparsexmc::cuda {

/// A block's lists about the group in hand, [fan_in] each.
struct GroupLists {
  uint32_t* keys;   // scores of the connections
  uint32_t* kept;   // places of the survivors, ascending
  uint32_t* grown;  // features that come, ascending
  uint32_t* from;   // of each new place: the old one, or is_new
  uint32_t* index;  // of each new place: its feature

  static SPARSEXMC_HD int64_t bytes(int64_t fan_in) { return 5 * int64_t{sizeof(uint32_t)} * fan_in; }

  SPARSEXMC_DEVICE GroupLists(unsigned char* scratch, int64_t fan_in)
      : keys(reinterpret_cast<uint32_t*>(scratch)),
        kept(keys + fan_in),
        grown(kept + fan_in),
        from(grown + fan_in),
        index(from + fan_in) {}
};

inline constexpr uint32_t is_new = 0xFFFFFFFFu;

/// Number of elements of an ascending list of `size` that are below `value`.
template <class Element>
SPARSEXMC_DEVICE int count_below(int size, uint32_t value, Element&& element) {
  int low = 0, high = size;
  while (low < high) {
    const int middle = (low + high) / 2;
    if (element(middle) < value)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

/// Moves the rows [fan_in, size] of a group to their new places, in place; new rows become zero.
///
/// The order of the survivors stays, so who moves to the front never lands on one that still has to move to the back,
/// and the other way round. Hence first all those that move to the front, the foremost first, then the others from the
/// back; wave by wave, each read as a whole before it is written.
template <class V>
SPARSEXMC_DEVICE void move_rows(V* rows, const uint32_t* from, int fan_in, int size) {
  constexpr int per_thread = 2, wave = per_thread * block_threads;
  const int elements = fan_in * size, waves = static_cast<int>(ceil_div(elements, wave));
  for (const bool to_front : {true, false})
    for (int i = 0; i < waves; ++i) {
      const int first = (to_front ? i : waves - 1 - i) * wave + static_cast<int>(threadIdx.x);
      V value[per_thread] = {};
      bool moves[per_thread];
#pragma unroll
      for (int k = 0; k < per_thread; ++k) {
        const int element = first + k * block_threads;
        const uint32_t to = static_cast<uint32_t>(smaller(element, elements - 1) / size), old = from[to];
        moves[k] = element < elements && old != is_new && (to_front ? old > to : old < to);
        if (moves[k]) value[k] = rows[static_cast<int>(old) * size + element % size];
      }
      __syncthreads();
#pragma unroll
      for (int k = 0; k < per_thread; ++k)
        if (moves[k]) rows[first + k * block_threads] = value[k];
      __syncthreads();
    }
  for (int i = static_cast<int>(threadIdx.x); i < elements; i += block_threads)
    if (from[i / size] == is_new) rows[i] = V{};
}

/// Brings in the n features of l.grown for the connections that are not in l.kept. For all threads of the block;
/// contains barriers, also at its end.
template <class W>
SPARSEXMC_DEVICE void replace(const kernels::Segment& s, int64_t group, const GroupLists& l, int n) {
  const int fan_in = static_cast<int>(s.fan_in), size = static_cast<int>(s.group_size), survivors = fan_in - n;
  const auto kept_feature = [&](int i) { return feature_at(s, group, l.kept[i]); };
  for (int i = static_cast<int>(threadIdx.x); i < fan_in; i += block_threads) {
    const bool survives = i < survivors;
    const uint32_t feature = survives ? kept_feature(i) : l.grown[i - survivors];
    const int to = survives ? i + count_below(n, feature, [&](int j) { return l.grown[j]; })
                            : i - survivors + count_below(survivors, feature, kept_feature);
    l.from[to] = survives ? l.kept[i] : is_new;
    l.index[to] = feature;
  }
  __syncthreads();
  const int64_t first = group * s.fan_in;
  for (int i = static_cast<int>(threadIdx.x); i < fan_in; i += block_threads) set_feature(s, group, i, l.index[i]);
  move_rows(elements<W>(s.weights) + first * size, l.from, fan_in, size);
  // Not a loop over s.weight_state itself, which would copy the kernel's parameters to local memory.
  for (float* state :
       {elements<float>(s.weight_state[0]), elements<float>(s.weight_state[1]), elements<float>(s.weight_average)})
    if (state != nullptr) move_rows(state + first * size, l.from, fan_in, size);
  __syncthreads();
}

}  // namespace sparsexmc::cuda

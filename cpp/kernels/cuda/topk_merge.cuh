// The merge of the lists that a top-k made of every instance.
#pragma once

#include "row_tiles.cuh"
#include "sorted_list.cuh"

namespace sparsexmc::cuda {

/// A block merges the lists of one instance: each warp its share, then they pairwise.
static SPARSEXMC_KERNEL(block_threads, 1) topk_merge_kernel(const kernels::TopKMerge p) {
  constexpr int warps = block_threads / 32;
  const int64_t instance = blockIdx.x;
  const auto list = [&](int64_t number) { return SortedList(p.lists + (number * p.batch + instance) * p.k, p.k); };
  for (int64_t other = warp() + warps; other < p.num_lists; other += warps) list(warp()).add(list(other));
  for (int distance = warps / 2; distance > 0; distance /= 2) {
    __syncthreads();
    if (warp() < distance && warp() + distance < p.num_lists) list(warp()).add(list(warp() + distance));
  }
  __syncthreads();
  for (int64_t i = threadIdx.x; i < p.k; i += block_threads) {
    const Candidate best = load_candidate(p.lists + instance * p.k + i);
    p.scores[instance * p.k + i] = best.score;
    p.ids[instance * p.k + i] = best.label == no_candidate().label ? -1 : static_cast<int64_t>(best.label);
  }
}

}  // namespace sparsexmc::cuda

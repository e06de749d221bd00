// Fused top-k: logits of a tile of labels, a vector comparison against each instance's threshold, and a heap for the
// few that pass. The batch x labels matrix never exists.
#include "candidate_heaps.h"
#include "table.h"
#include "tiles.h"

namespace sparsexmc::cpu::SPARSEXMC_ISA {

using namespace kernels;

namespace {

/// Floats of scratch of one worker, on cache lines of its own.
int64_t worker_scratch(const Segment& s, int64_t ldx) { return worker_floats(s.group_size * strip_columns + ldx); }

}  // namespace

TopKSizes topk_sizes(const Machine& machine, const Segment* segments, int64_t num_segments, int64_t batch) {
  int64_t scratch = 0;
  for (int64_t i = 0; i < num_segments; ++i)
    scratch = larger(scratch, worker_scratch(segments[i], leading_dimension(batch)));
  return {machine.workers, machine.workers * scratch * static_cast<int64_t>(sizeof(float))};
}

void topk(ThreadPool& threads, const TopK& p) {
  const int64_t scratch_floats = worker_scratch(p.segment, p.ldx);
  const int64_t all_columns = round_up(p.batch, column_padding);
  if (p.first)
    parallel_for(threads, threads.num_threads(),
                 [&](int64_t list, int) { clear_candidates(p.lists + list * p.batch * p.k, p.batch * p.k); });
  // Each worker takes ranges of groups as they come; its heaps carry over, so their thresholds rise quickly.
  const int64_t groups_per_item = larger<int64_t>(1, ceil_div(p.segment.groups, 64 * int64_t{threads.num_threads()}));
  parallel_for(threads, ceil_div(p.segment.groups, groups_per_item), [&](int64_t item, int worker) {
    float* z = fp32(p.scratch) + worker * scratch_floats;  // [group_size, strip_columns]
    const CandidateHeaps heaps{p.lists + worker * p.batch * p.k, z + p.segment.group_size * strip_columns, p.batch,
                               p.k};
    heaps.read_thresholds(all_columns);
    const int64_t last = smaller((item + 1) * groups_per_item, p.segment.groups);
    for (int64_t group = item * groups_per_item; group < last; ++group) {
      const int64_t first_row = group * p.segment.group_size;
      const int64_t valid_rows = smaller(p.segment.group_size, p.segment.rows - first_row);
      for (int64_t b = 0; b < all_columns; b += strip_columns) {
        const int64_t columns = smaller(strip_columns, all_columns - b);
        group_logits(z, strip_columns, p.segment, group, fp32(p.xt) + b, p.ldx, columns);
        for (int64_t g = 0; g < valid_rows; ++g)
          heaps.offer(z + g * strip_columns, p.labels[first_row + g], b, columns);
      }
    }
  });
}

void topk_merge(ThreadPool& threads, const TopKMerge& p) {
  constexpr int64_t block = 16;  // instances per work item
  parallel_for(threads, ceil_div(p.batch, block), [&](int64_t item, int) {
    for (int64_t b = item * block; b < smaller((item + 1) * block, p.batch); ++b) {
      Candidate* heap = p.lists + b * p.k;
      for (int64_t w = 1; w < p.num_lists; ++w) {
        const Candidate* other = p.lists + (w * p.batch + b) * p.k;
        for (int64_t i = 0; i < p.k; ++i)
          if (before(other[i], heap[0])) {
            heap[0] = other[i];
            sift_down(heap, p.k, 0);
          }
      }
      for (int64_t i = p.k - 1; i >= 0; --i) {  // the root is the last of what remains
        p.scores[b * p.k + i] = heap[0].score;
        p.ids[b * p.k + i] = heap[0].label == UINT32_MAX ? -1 : static_cast<int64_t>(heap[0].label);
        heap[0] = heap[i];
        sift_down(heap, i, 0);
      }
    }
  });
}

}  // namespace sparsexmc::cpu::SPARSEXMC_ISA

// Fused top-k: logits of a tile of labels, a vector comparison against each instance's threshold, and a heap for the
// few that pass. The batch x labels matrix never exists.
#include "table.h"
#include "tiles.h"

namespace sparsexmc::cpu::SPARSEXMC_ISA {

using namespace kernels;

namespace {

/// Is a ranked before b? A strict total order: score falling, then user label id rising.
SPARSEXMC_INLINE bool before(const Candidate& a, const Candidate& b) {
  return a.score > b.score || (a.score == b.score && a.label < b.label);
}

/// Restores the heap below place `i`: the root is the last-ranked candidate.
SPARSEXMC_INLINE void sift_down(Candidate* heap, int64_t size, int64_t i) {
  const Candidate moved = heap[i];
  for (;;) {
    int64_t child = 2 * i + 1;
    if (child >= size) break;
    if (child + 1 < size && before(heap[child], heap[child + 1])) ++child;
    if (!before(moved, heap[child])) break;
    heap[i] = heap[child];
    i = child;
  }
  heap[i] = moved;
}

struct Scratch {
  float* z;          // [group_size, strip_columns]
  float* threshold;  // [ldx]: score of each instance's last-ranked candidate
};

/// Offers the logits of one group's strip to the heaps.
void offer(const TopK& p, const Scratch& s, Candidate* heaps, int64_t group, int64_t first_column, int64_t columns) {
  const int64_t first_row = group * p.segment.group_size;
  const int64_t valid_rows = smaller(p.segment.group_size, p.segment.rows - first_row);
  for (int64_t g = 0; g < valid_rows; ++g) {
    const float* z = s.z + g * strip_columns;
    const uint32_t label = p.labels[first_row + g];
    for (int64_t c = 0; c < columns; c += width) {
      // >= and not >: an equal score with a smaller label id must get in.
      if (!any(load(z + c) >= load(s.threshold + first_column + c))) continue;
      for (int64_t i = c; i < c + width && first_column + i < p.batch; ++i) {
        Candidate* heap = heaps + (first_column + i) * p.k;
        const Candidate candidate{z[i], label};
        if (!before(candidate, heap[0])) continue;
        heap[0] = candidate;
        sift_down(heap, p.k, 0);
        s.threshold[first_column + i] = heap[0].score;
      }
    }
  }
}

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
    parallel_for(threads, threads.num_threads(), [&](int64_t list, int) {
      for (int64_t i = list * p.batch * p.k; i < (list + 1) * p.batch * p.k; ++i)
        p.lists[i] = {-__builtin_inff(), UINT32_MAX};
    });
  // Each worker takes ranges of groups as they come; its heaps carry over, so their thresholds rise quickly.
  const int64_t groups_per_item = larger<int64_t>(1, ceil_div(p.segment.groups, 64 * int64_t{threads.num_threads()}));
  parallel_for(threads, ceil_div(p.segment.groups, groups_per_item), [&](int64_t item, int worker) {
    float* scratch = fp32(p.scratch) + worker * scratch_floats;
    const Scratch s{scratch, scratch + p.segment.group_size * strip_columns};
    Candidate* heaps = p.lists + worker * p.batch * p.k;
    for (int64_t b = 0; b < p.batch; ++b) s.threshold[b] = heaps[b * p.k].score;
    for (int64_t b = p.batch; b < all_columns; ++b) s.threshold[b] = __builtin_inff();
    const int64_t last = smaller((item + 1) * groups_per_item, p.segment.groups);
    for (int64_t group = item * groups_per_item; group < last; ++group)
      for (int64_t b = 0; b < all_columns; b += strip_columns) {
        const int64_t columns = smaller(strip_columns, all_columns - b);
        group_logits(s.z, strip_columns, p.segment, group, fp32(p.xt) + b, p.ldx, columns);
        offer(p, s, heaps, group, b, columns);
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

// The fused training step over one segment.
#include "group_step.h"
#include "per_label_step.h"
#include "table.h"

namespace sparsexmc::cpu::SPARSEXMC_ISA {

using namespace kernels;

namespace {

template <Loss loss>
void group_part(const FanInStep& p, const GroupScratch& scratch, int64_t first, int64_t last, float* dx,
                double& total) {
  const int64_t rows = p.segment.group_size;
  int64_t cursor = first_positive(p.positives, p.num_positives, first * rows);
  for (int64_t group = first; group < last; ++group) {
    group_step<loss>(p, scratch, group, dx, cursor, total);
    while (cursor < p.num_positives && p.positives[cursor].row < (group + 1) * rows) ++cursor;
  }
}

template <Loss loss>
void label_part(const FanInStep& p, float* scratch, int64_t first, int64_t last, float* dx, double& total) {
  const int64_t tile = label_tile_rows(p.segment.fan_in, p.label_tile);
  const LabelScratch labels(scratch, p.segment.fan_in);
  for (int64_t l = first; l < last; l += tile) {
    const int64_t end = smaller(l + tile, last);
    if (p.segment.wide_indices)
      label_tile_step<loss>(p, labels, l, end, dx, static_cast<const uint32_t*>(p.segment.indices), total);
    else
      label_tile_step<loss>(p, labels, l, end, dx, static_cast<const uint16_t*>(p.segment.indices), total);
  }
}

template <Loss loss>
void part(const FanInStep& p, float* scratch, int64_t first, int64_t last, float* dx, double& total) {
  if (p.segment.group_size == 1 && p.segment.indices != nullptr)
    label_part<loss>(p, scratch, first, last, dx, total);
  else
    group_part<loss>(p, GroupScratch(scratch, p.segment.group_size), first, last, dx, total);
}

}  // namespace

int64_t fan_in_step_scratch(int64_t group_size, int64_t fan_in, int64_t in_features) {
  const int64_t group = GroupScratch::floats(group_size, fan_in);
  return group_size == 1 ? larger(group, LabelScratch::floats(fan_in, in_features)) : group;
}

void fan_in_step(ThreadPool& threads, const FanInStep& p) {
  const int64_t dx_floats = p.segment.in_features * p.ldx;
  const int64_t scratch_floats =
      round_up(fan_in_step_scratch(p.segment.group_size, p.segment.fan_in, p.segment.in_features),
               MemoryPool::granularity / sizeof(float));
  parallel_for(threads, p.parts, [&](int64_t i, int worker) {
    float* dx = p.dx_parts + i * dx_floats;
    if (p.zero_dx) __builtin_memset(dx, 0, static_cast<size_t>(dx_floats) * sizeof(float));
    const int64_t first = p.segment.groups * i / p.parts, last = p.segment.groups * (i + 1) / p.parts;
    double total = 0.0;
    if (p.loss == Loss::bce)
      part<Loss::bce>(p, p.scratch + worker * scratch_floats, first, last, dx, total);
    else
      part<Loss::squared_hinge>(p, p.scratch + worker * scratch_floats, first, last, dx, total);
    p.loss_parts[i] += total;
  });
}

void reduce_parts(ThreadPool& threads, const ReduceParts& p) {
  const int64_t floats = p.rows * p.ldx;
  constexpr int64_t block = 16384;  // floats per work item
  parallel_for(threads, ceil_div(floats, block), [&](int64_t item, int) {
    const int64_t begin = item * block, end = smaller(begin + block, floats);
    for (int64_t i = begin; i < end; i += width) {
      Vec total = load(p.parts_data + i);
      for (int64_t part = 1; part < p.parts; ++part) total = total + load(p.parts_data + part * floats + i);
      store(p.parts_data + i, total);
    }
  });
}

}  // namespace sparsexmc::cpu::SPARSEXMC_ISA

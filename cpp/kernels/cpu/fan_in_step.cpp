// The fused training step over one segment.
#include "bf16_group_step.h"
#include "group_step.h"
#include "per_label_step.h"
#include "table.h"
#include "visit.h"

namespace sparsexmc::cpu::SPARSEXMC_ISA {

using namespace kernels;

namespace {

template <class Formula>
void group_part(const FanInStep& p, const GroupScratch& scratch, int64_t first, int64_t last, float* dx,
                double& total) {
  const int64_t rows = p.segment.group_size;
  int64_t cursor = first_positive(p.positives, p.num_positives, first * rows);
  for (int64_t group = first; group < last; ++group) {
    group_step<Formula>(p, scratch, group, dx, cursor, total);
    while (cursor < p.num_positives && p.positives[cursor].row < (group + 1) * rows) ++cursor;
  }
}

template <class Formula>
void bf16_group_part(const FanInStep& p, const Bf16Scratch& scratch, const Bf16Batch& batch, int64_t first,
                     int64_t last, float* dx, double& total) {
  const MatrixUnit unit;
  const int64_t rows = p.segment.group_size, together = bf16_groups_together(p.segment);
  int64_t cursor = first_positive(p.positives, p.num_positives, first * rows);
  for (int64_t group = first; group < last; group += together) {
    const int64_t end = smaller(group + together, last);
    bf16_group_step<Formula>(p, scratch, batch, group, end - group, dx, cursor, total);
    while (cursor < p.num_positives && p.positives[cursor].row < end * rows) ++cursor;
  }
}

template <class Formula>
void label_part(const FanInStep& p, float* scratch, int64_t first, int64_t last, float* dx, double& total) {
  const int64_t tile = label_tile_rows(p.segment.fan_in, p.label_tile);
  const LabelScratch labels(scratch, p.segment.fan_in);
  for (int64_t l = first; l < last; l += tile) {
    const int64_t end = smaller(l + tile, last);
    visit_indices(p.segment, 0,
                  [&](const auto* indices) { label_tile_step<Formula>(p, labels, l, end, dx, indices, total); });
  }
}

template <class Formula>
void part(const FanInStep& p, float* scratch, const Bf16Batch& batch, int64_t first, int64_t last, float* dx,
          double& total) {
  if (per_label(p.segment)) {
    if constexpr (!Formula::normalised)
      if (p.instance_weights != nullptr) return label_part<Weighted<Formula>>(p, scratch, first, last, dx, total);
    label_part<Formula>(p, scratch, first, last, dx, total);
  } else if (in_bf16(p.segment, p.compute)) {
    bf16_group_part<Formula>(p, Bf16Scratch(scratch, p.segment), batch, first, last, dx, total);
  } else {
    group_part<Formula>(p, GroupScratch(scratch, p.segment.group_size), first, last, dx, total);
  }
}

/// Floats of scratch of one worker, on cache lines of its own.
int64_t worker_scratch(const Segment& s, DType compute) {
  if (per_label(s)) return worker_floats(LabelScratch::floats(s.fan_in, s.in_features));
  return worker_floats(in_bf16(s, compute) ? Bf16Scratch::floats(s) : GroupScratch::floats(s.group_size, s.fan_in));
}

}  // namespace

StepSizes step_sizes(const Machine& machine, const Segment* segments, int64_t num_segments, int64_t batch,
                     DType compute) {
  const int64_t features = segments[0].in_features, ldx = leading_dimension(batch);
  int64_t weights = 0, groups = 1, scratch = 0, shared = 0;
  for (int64_t i = 0; i < num_segments; ++i) {
    weights += segments[i].groups * segments[i].group_size * segments[i].fan_in;
    groups = larger(groups, segments[i].groups);
    scratch = larger(scratch, worker_scratch(segments[i], compute));
    shared = larger(shared, shared_scratch(segments[i], ldx, compute));
  }
  StepSizes sizes;
  // A part costs three passes over its [H, ldx]; with 512 weights per feature that stays below a few percent of its
  // work.
  sizes.parts = smaller<int64_t>(larger<int64_t>(weights / (512 * features), 4), 64);
  const int64_t bytes = features * ldx * static_cast<int64_t>(sizeof(float));
  sizes.parts = smaller(sizes.parts, larger<int64_t>(4, (int64_t{1} << 30) / bytes));
  sizes.parts = smaller(sizes.parts, groups);
  sizes.dx_floats = sizes.parts * features * ldx;
  sizes.losses = sizes.parts;
  sizes.scratch_bytes = (shared + machine.workers * scratch) * static_cast<int64_t>(sizeof(float));
  return sizes;
}

void fan_in_step(ThreadPool& threads, const FanInStep& p) {
  const int64_t dx_floats = p.segment.in_features * p.ldx;
  const int64_t scratch_floats = worker_scratch(p.segment, p.compute);
  float* workers = fp32(p.scratch) + shared_scratch(p.segment, p.ldx, p.compute);
  const Bf16Batch batch(fp32(p.scratch), p.segment.in_features, p.ldx);
  if (in_bf16(p.segment, p.compute))
    parallel_for(threads, blocks32(p.segment.in_features),
                 [&](int64_t block, int) { batch.fill(fp32(p.xt), p.ldx, block); });
  parallel_for(threads, p.parts, [&](int64_t i, int worker) {
    float* dx = p.dx_parts + i * dx_floats;
    if (p.zero_dx) __builtin_memset(dx, 0, static_cast<size_t>(dx_floats) * sizeof(float));
    if (p.zero_loss) p.loss_parts[i] = 0.0;
    float* scratch = workers + worker * scratch_floats;
    const int64_t first = p.segment.groups * i / p.parts, last = p.segment.groups * (i + 1) / p.parts;
    double total = 0.0;
    losses::visit_loss(p.loss,
                       [&](auto formula) { part<decltype(formula)>(p, scratch, batch, first, last, dx, total); });
    p.loss_parts[i] += total;
  });
}

void reduce_parts(ThreadPool& threads, const ReduceParts& p) {
  const int64_t floats = p.in_features * p.ldx;
  constexpr int64_t block = 16384;  // floats per work item
  parallel_for(threads, ceil_div(floats, block), [&](int64_t item, int) {
    const int64_t begin = item * block, end = smaller(begin + block, floats);
    for (int64_t i = begin; i < end; i += width) {
      Vec total = load(p.dx_parts + i);
      for (int64_t part = 1; part < p.parts; ++part) total = total + load(p.dx_parts + part * floats + i);
      store(p.dx_parts + i, total);
    }
  });
  const auto sum_losses = [&](const double* losses) {
    double sum = 0.0;
    for (int64_t part = 0; part < p.parts; ++part) sum += losses[part];
    return sum;
  };
  *p.loss = sum_losses(p.loss_parts) + (p.loss_offset != nullptr ? *p.loss_offset : 0.0);
  if (p.auxiliary_loss != nullptr) *p.auxiliary_loss = sum_losses(p.auxiliary_parts);
}

}  // namespace sparsexmc::cpu::SPARSEXMC_ISA

// Pass 1 of a normalised loss: maximum and sum of exponentials of every instance, over tiles of logits that are made
// and forgotten, and what the step needs of them.
#include "bf16_group_step.h"
#include "normaliser.h"
#include "positives.h"
#include "table.h"
#include "tiles.h"

namespace sparsexmc::cpu::SPARSEXMC_ISA {

using namespace kernels;

namespace {

/// Statistics of one part, or of all: [4, ldx].
struct Statistics {
  float *maximum, *sum, *positives, *weights;

  Statistics(float* data, int64_t ldx)
      : maximum(data), sum(data + ldx), positives(data + 2 * ldx), weights(data + 3 * ldx) {}

  void clear(int64_t columns) const {
    for (int64_t c = 0; c < columns; c += width) {
      store(maximum + c, broadcast(-3.4028234664e38f));
      store(sum + c, Vec{});
      store(positives + c, Vec{});
      store(weights + c, Vec{});
    }
  }
};

/// Adds `rows` logits of every instance of a strip. A logit that is NaN makes its sum NaN.
inline void add_logits(float* maximum, float* sum, const float* z, int64_t rows, int64_t columns, float logit_scale) {
  for (int64_t c = 0; c < columns; c += width) {
    const Vec before = load(maximum + c);
    Vec top = before;
    for (int64_t g = 0; g < rows; ++g) top = max(top, logit_scale * load(z + g * strip_columns + c));
    Vec sums[2] = {load(sum + c) * exp_nonpositive(before - top), Vec{}};
    for (int64_t g = 0; g < rows; ++g)
      sums[g & 1] = sums[g & 1] + exp_nonpositive<true>(logit_scale * load(z + g * strip_columns + c) - top);
    store(maximum + c, top);
    store(sum + c, sums[0] + sums[1]);
  }
}

/// Floats of scratch of one worker, on cache lines of its own.
int64_t worker_scratch(const Segment& s, DType compute) {
  return worker_floats(in_bf16(s, compute) ? Bf16Scratch::floats(s) : s.group_size * strip_columns);
}

void group_statistics(const Normalise& p, const Statistics& to, float* z, int64_t group) {
  const int64_t size = p.segment.group_size, rows = smaller(size, p.segment.rows - group * size);
  const int64_t all_columns = round_up(p.batch, column_padding);
  for (int64_t b = 0; b < all_columns; b += strip_columns) {
    const int64_t columns = smaller(strip_columns, all_columns - b);
    group_logits(z, strip_columns, p.segment, group, fp32(p.xt) + b, p.ldx, columns);
    add_logits(to.maximum + b, to.sum + b, z, rows, columns, p.logit_scale);
  }
}

void bf16_statistics(const Normalise& p, const Statistics& to, const Bf16Scratch& s, const Bf16Batch& batch,
                     int64_t first_group, int64_t groups) {
  const int64_t size = p.segment.group_size, labels = groups * size, first_row = first_group * size;
  const int64_t all_columns = round_up(p.batch, column_padding);
  pack_weights(s, p.segment, first_group, groups);
  for (int64_t b = 0; b < all_columns; b += strip_columns) {
    const int64_t columns = smaller(strip_columns, all_columns - b);
    bf16_logits(s, p.segment, strip_features(s, p.segment, batch, first_group, b, columns), first_row, labels, columns);
    add_logits(to.maximum + b, to.sum + b, s.z, smaller(labels, p.segment.rows - first_row), columns, p.logit_scale);
  }
}

/// Number and weights of the positives in rows [first, last).
void add_positives(const Normalise& p, const Statistics& to, int64_t first, int64_t last) {
  for (int64_t i = first_positive(p.positives, p.num_positives, first);
       i < p.num_positives && p.positives[i].row < last; ++i) {
    to.positives[p.positives[i].column] += 1.0f;
    to.weights[p.positives[i].column] += positive_weight(p.segment, p.positives[i].row);
  }
}

}  // namespace

NormaliseSizes normalise_sizes(const Machine& machine, const Segment* segments, int64_t num_segments, int64_t batch,
                               DType compute) {
  int64_t groups = 1, scratch = 0, shared = 0;
  for (int64_t i = 0; i < num_segments; ++i) {
    groups = larger(groups, segments[i].groups);
    scratch = larger(scratch, worker_scratch(segments[i], compute));
    shared = larger(shared, shared_scratch(segments[i], leading_dimension(batch), compute));
  }
  return {smaller<int64_t>(groups, 64), (shared + machine.workers * scratch) * static_cast<int64_t>(sizeof(float))};
}

void normalise(ThreadPool& threads, const Normalise& p) {
  const Segment& segment = p.segment;
  const bool bf16 = in_bf16(segment, p.compute);
  const int64_t scratch_floats = worker_scratch(segment, p.compute);
  const int64_t together = bf16 ? bf16_groups_together(segment) : 1;
  float* workers = fp32(p.scratch) + shared_scratch(segment, p.ldx, p.compute);
  const Bf16Batch batch(fp32(p.scratch), segment.in_features, p.ldx);
  if (bf16)
    parallel_for(threads, blocks32(segment.in_features),
                 [&](int64_t block, int) { batch.fill(fp32(p.xt), p.ldx, block); });
  // As many parts as normalise_sizes says, whatever the segment, since the pass over the first one clears them all.
  parallel_for(threads, p.parts, [&](int64_t i, int worker) {
    const Statistics to(p.statistics + i * 4 * p.ldx, p.ldx);
    if (p.first) to.clear(round_up(p.batch, column_padding));
    float* scratch = workers + worker * scratch_floats;
    const int64_t first = segment.groups * i / p.parts, last = segment.groups * (i + 1) / p.parts;
    if (bf16) {
      const MatrixUnit unit;
      for (int64_t group = first; group < last; group += together)
        bf16_statistics(p, to, Bf16Scratch(scratch, segment), batch, group, smaller(together, last - group));
    } else {
      for (int64_t group = first; group < last; ++group) group_statistics(p, to, scratch, group);
    }
    add_positives(p, to, first * segment.group_size, last * segment.group_size);
  });
}

void finish_normaliser(ThreadPool&, const FinishNormaliser& p) {
  double loss = 0.0;
  for (int64_t b = 0; b < p.ldx; ++b) {
    InstanceStatistics all;
    for (int64_t part = 0; b < p.batch && part < p.parts; ++part) all.add(p.statistics + part * 4 * p.ldx + b, p.ldx);
    loss += finish_instance(p, b, all);
  }
  if (p.loss != nullptr) *p.loss = loss;
}

}  // namespace sparsexmc::cpu::SPARSEXMC_ISA

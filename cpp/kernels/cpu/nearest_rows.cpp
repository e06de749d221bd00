// Search among rows of bytes: a group of them becomes fp32 block by block, and from there on it is a dense segment.
#include "candidate_heaps.h"
#include "table.h"
#include "tiles.h"

namespace sparsexmc::cpu::SPARSEXMC_ISA {

using namespace kernels;

namespace {

constexpr int64_t group_rows = byte_row_group;

/// Z[group_rows, columns] = one group's products with the batch.
void group_products(float* z, int64_t ldz, float* block, const NearestRows& p, int64_t group, int64_t columns) {
  for (int64_t i = 0; i < group_rows * ldz; ++i) z[i] = 0.0f;
  const int8_t* bytes = p.rows + group * p.features * group_rows;
  int64_t offset[feature_block];
  for (int64_t f = 0; f < p.features; f += feature_block) {
    const int count = static_cast<int>(smaller<int64_t>(feature_block, p.features - f));
    for (int64_t i = 0; i < count * group_rows; ++i) block[i] = static_cast<float>(bytes[f * group_rows + i]);
    for (int i = 0; i < count; ++i) offset[i] = (f + i) * p.ldx;
    for (int64_t b = 0; b < columns; b += strip_columns)
      forward_block(z + b, ldz, block, group_rows, group_rows, p.xt + b, offset, count,
                    smaller(strip_columns, columns - b));
  }
}

int64_t padded(int64_t batch) { return round_up(batch, column_padding); }

}  // namespace

int64_t nearest_rows_scratch(int64_t batch) {
  return worker_floats(feature_block * group_rows + (group_rows + 1) * padded(batch));
}

void nearest_rows(ThreadPool& threads, const NearestRows& p) {
  const int64_t columns = padded(p.batch), groups = ceil_div(p.count, group_rows);
  parallel_for(threads, threads.num_threads(),
               [&](int64_t list, int) { clear_candidates(p.lists + list * p.batch * p.k, p.batch * p.k); });
  const int64_t groups_per_item = larger<int64_t>(1, ceil_div(groups, 64 * int64_t{threads.num_threads()}));
  parallel_for(threads, ceil_div(groups, groups_per_item), [&](int64_t item, int worker) {
    float* block = p.scratch + worker * nearest_rows_scratch(p.batch);
    float* z = block + feature_block * group_rows;
    const CandidateHeaps heaps{p.lists + worker * p.batch * p.k, z + group_rows * columns, p.batch, p.k};
    heaps.read_thresholds(columns);
    const int64_t last = smaller((item + 1) * groups_per_item, groups);
    for (int64_t group = item * groups_per_item; group < last; ++group) {
      group_products(z, columns, block, p, group, columns);
      for (int64_t row = group * group_rows; row < smaller((group + 1) * group_rows, p.count); ++row) {
        float* products = z + (row - group * group_rows) * columns;
        for (int64_t c = 0; c < columns; ++c) products[c] *= p.scales[row];
        heaps.offer(products, static_cast<uint32_t>(row), 0, columns);
      }
    }
  });
}

}  // namespace sparsexmc::cpu::SPARSEXMC_ISA

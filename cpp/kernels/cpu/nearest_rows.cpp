// Search among rows of bytes: a group of them becomes fp32 block by block, or bf16 for the matrix units, and from there
// on it is a dense segment.
#include "bf16_batch.h"
#include "candidate_heaps.h"
#include "table.h"
#include "tile_products.h"
#include "tiles.h"

namespace sparsexmc::cpu::SPARSEXMC_ISA {

using namespace kernels;

namespace {

constexpr int64_t group_rows = byte_row_group;

int64_t padded(int64_t batch) { return round_up(batch, column_padding); }

#if defined(__AMX_BF16__)

// A byte is exact in bf16. A query is the sum of two numbers of 8 bits, so that its products are as good as in fp32.

/// Scratch that the workers share, carved from floats.
struct Queries {
  float* rest;      // [features, ldx]: what rounding left
  Bf16* left[2];    // left panels [batch, features]: rounded, and the rest rounded
  Bf16Batch batch;  // what they are made from

  static int64_t floats(int64_t batch, int64_t features) {
    const int64_t ldx = leading_dimension(batch);
    return worker_floats(features * ldx + 2 * panel_floats(ldx, features) + Bf16Batch::floats(features, ldx));
  }
  explicit Queries(const NearestRows& p)
      : rest(p.scratch),
        left{reinterpret_cast<Bf16*>(rest + p.features * p.ldx), left[0] + panel_elements(p.ldx, p.features)},
        batch(reinterpret_cast<float*>(left[1] + panel_elements(p.ldx, p.features)), p.features, p.ldx) {}

  void fill(ThreadPool& threads, Bf16* panel, const float* xt) const {
    parallel_for(threads, blocks32(batch.features), [&](int64_t block, int) { batch.fill(xt, batch.columns, block); });
    const int64_t depth = blocks32(batch.features);
    parallel_for(threads, blocks16(batch.columns), [&](int64_t block, int) {
      for (int64_t t = block * depth; t < (block + 1) * depth; ++t)
        transpose_tile(panel + t * tile_elements, batch.right + t * tile_elements);
    });
  }
};

int64_t shared_scratch(int64_t batch, int64_t features) { return Queries::floats(batch, features); }
/// One group as a right panel [features, group_rows].
int64_t group_scratch(int64_t features) { return panel_floats(group_rows, features); }

void prepare(ThreadPool& threads, const NearestRows& p) {
  const Queries queries(p);
  parallel_for(threads, p.features, [&](int64_t f, int) {
    for (int64_t b = f * p.ldx; b < (f + 1) * p.ldx; b += width) {
      Bf16 rounded[width];
      narrow(rounded, p.xt + b, width);
      for (int i = 0; i < width; ++i) queries.rest[b + i] = p.xt[b + i] - from_bfloat16(rounded[i]);
    }
  });
  queries.fill(threads, queries.left[0], p.xt);
  queries.fill(threads, queries.left[1], queries.rest);
}

/// Z[batch, group_rows] = the products of the batch with one group.
void group_products(float* z, float* scratch, const NearestRows& p, int64_t group) {
  static_assert(group_rows == 32);
  const int64_t depth = blocks32(p.features);
  const int8_t* bytes = p.rows + group * p.features * group_rows;
  Bf16* rows = reinterpret_cast<Bf16*>(scratch);
  alignas(64) Bf16 by_feature[2 * tile_elements];  // [32 features, group_rows]
  for (int64_t k = 0; k < depth; ++k) {
    const int64_t features = smaller<int64_t>(32, p.features - 32 * k);
    for (int64_t f = 0; f < features; ++f) {
      const __m256i row = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes + (32 * k + f) * group_rows));
      const __m512 low =
          _mm512_maskz_cvtepi32_ps(0xFFFF, _mm512_maskz_cvtepi8_epi32(0xFFFF, _mm256_castsi256_si128(row)));
      const __m512 high =
          _mm512_maskz_cvtepi32_ps(0xFFFF, _mm512_maskz_cvtepi8_epi32(0xFFFF, _mm256_extracti128_si256(row, 1)));
      const __m512bh both = _mm512_cvtne2ps_pbh(high, low);
      std::memcpy(by_feature + f * tile_depth, &both, sizeof both);
    }
    std::memset(by_feature + features * tile_depth, 0, static_cast<size_t>(32 - features) * 64);
    pair_tiles(rows + k * tile_elements, rows + (depth + k) * tile_elements, by_feature, by_feature + tile_elements);
  }
  const Queries queries(p);
  multiply_panels(z, group_rows, false, queries.left[0], depth, blocks16(p.batch), rows, depth, 2, depth);
  multiply_panels(z, group_rows, true, queries.left[1], depth, blocks16(p.batch), rows, depth, 2, depth);
}

/// The products of one group go into the heaps.
void offer_group(const CandidateHeaps& heaps, float* z, float* scratch, const NearestRows& p, int64_t group) {
  group_products(z, scratch, p, group);
  const int64_t first = group * group_rows, count = smaller(group_rows, p.count - first);
  alignas(64) float scales[group_rows] = {};
  std::memcpy(scales, p.scales + first, static_cast<size_t>(count) * sizeof(float));
  for (int64_t b = 0; b < p.batch; ++b)
    for (int64_t r = 0; r < count; r += width)
      heaps.offer(load(z + b * group_rows + r) * load(scales + r), static_cast<uint32_t>(first + r),
                  smaller<int64_t>(width, count - r), b);
}

#else

int64_t shared_scratch(int64_t, int64_t) { return 0; }
int64_t group_scratch(int64_t) { return feature_block * group_rows; }

void prepare(ThreadPool&, const NearestRows&) {}

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

/// The products of one group go into the heaps.
void offer_group(const CandidateHeaps& heaps, float* z, float* scratch, const NearestRows& p, int64_t group) {
  const int64_t columns = padded(p.batch);
  group_products(z, columns, scratch, p, group, columns);
  for (int64_t row = group * group_rows; row < smaller((group + 1) * group_rows, p.count); ++row) {
    float* products = z + (row - group * group_rows) * columns;
    for (int64_t c = 0; c < columns; ++c) products[c] *= p.scales[row];
    heaps.offer(products, static_cast<uint32_t>(row), 0, columns);
  }
}

#endif

int64_t worker_scratch(int64_t batch, int64_t features) {
  return worker_floats(group_scratch(features) + (group_rows + 1) * padded(batch));  // and z, and thresholds
}

}  // namespace

int64_t nearest_rows_scratch(int64_t workers, int64_t batch, int64_t features) {
  return shared_scratch(batch, features) + workers * worker_scratch(batch, features);
}

void nearest_rows(ThreadPool& threads, const NearestRows& p) {
  const int64_t columns = padded(p.batch), groups = ceil_div(p.count, group_rows);
  float* workers = p.scratch + shared_scratch(p.batch, p.features);
  prepare(threads, p);
  parallel_for(threads, threads.num_threads(),
               [&](int64_t list, int) { clear_candidates(p.lists + list * p.batch * p.k, p.batch * p.k); });
  const int64_t groups_per_item = larger<int64_t>(1, ceil_div(groups, 64 * int64_t{threads.num_threads()}));
  parallel_for(threads, ceil_div(groups, groups_per_item), [&](int64_t item, int worker) {
    const MatrixUnit unit;
    float* block = workers + worker * worker_scratch(p.batch, p.features);
    float* z = block + group_scratch(p.features);
    const CandidateHeaps heaps{p.lists + worker * p.batch * p.k, z + group_rows * columns, p.batch, p.k};
    heaps.read_thresholds(columns);
    const int64_t last = smaller((item + 1) * groups_per_item, groups);
    for (int64_t group = item * groups_per_item; group < last; ++group) offer_group(heaps, z, block, p, group);
  });
}

}  // namespace sparsexmc::cpu::SPARSEXMC_ISA

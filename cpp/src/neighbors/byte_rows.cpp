#include "sparsexmc/byte_rows.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "kernels.h"
#include "sparsexmc/error.h"
#include "sparsexmc/interrupt.h"
#include "sparsexmc/memory_pool.h"

namespace sparsexmc {
namespace {

constexpr int64_t queries_at_a_time = 256;

static_assert(ByteRows::group == kernels::byte_row_group);

void check(const ByteRows& rows, const TensorView& queries, int64_t k) {
  if (rows.count < 1 || rows.count >= int64_t{std::numeric_limits<uint32_t>::max()})
    throw ArgumentError("rows holds " + std::to_string(rows.count) + " vectors; it must hold 1 to 2^32 - 2");
  if (queries.dtype != DType::float32 || queries.device.kind != DeviceKind::cpu || queries.cols != rows.features)
    throw ArgumentError("queries must be float32 in host memory with the " + std::to_string(rows.features) +
                        " features of the rows");
  if (k < 1 || k > rows.count)
    throw ArgumentError("k is " + std::to_string(k) + "; it must lie in 1.." + std::to_string(rows.count));
  for (int64_t i = 0; i < rows.count; ++i)
    if (!std::isfinite(rows.scales[i])) throw ArgumentError("scales holds NaN or Inf");
}

}  // namespace

void largest_products(const ByteRows& rows, const TensorView& queries, int64_t k, float* products, int64_t* numbers,
                      Context& context) {
  using kernels::Cpu;
  check(rows, queries, k);
  const int64_t most = std::min(queries.rows, queries_at_a_time), workers = context.threads().num_threads();
  std::vector<float> xt(static_cast<size_t>(rows.features * kernels::leading_dimension(Cpu{}, most)));
  const size_t room =
      static_cast<size_t>(kernels::nearest_rows_scratch(Cpu{}, workers, most, rows.features)) * sizeof(float);
  std::vector<std::byte> memory(room + MemoryPool::granularity);
  void* scratch = memory.data();
  size_t space = memory.size();
  std::align(MemoryPool::granularity, room, scratch, space);  // matrix units want whole cache lines
  std::vector<kernels::Candidate> lists(static_cast<size_t>(workers * most * k));
  for (int64_t first = 0; first < queries.rows; first += queries_at_a_time) {
    InterruptScope::check();
    const int64_t batch = std::min(queries_at_a_time, queries.rows - first);
    const int64_t ldx = kernels::leading_dimension(Cpu{}, batch);
    uint32_t nonfinite = 0;
    kernels::GatherColumns gather;
    gather.xt = xt.data();
    gather.nonfinite = &nonfinite;
    gather.x = static_cast<const float*>(queries.data) + first * rows.features;
    gather.batch = batch;
    gather.features = rows.features;
    gather.ldx = ldx;
    kernels::gather_columns(Cpu{}, context, gather);
    if (nonfinite != 0) throw ArgumentError("queries holds NaN or Inf");

    kernels::NearestRows p;
    p.lists = lists.data();
    p.rows = rows.values;
    p.scales = rows.scales;
    p.scratch = static_cast<float*>(scratch);
    p.xt = xt.data();
    p.count = rows.count;
    p.features = rows.features;
    p.batch = batch;
    p.ldx = ldx;
    p.k = k;
    kernels::nearest_rows(Cpu{}, context, p);
    kernels::TopKMerge merge;
    merge.scores = products + first * k;
    merge.ids = numbers + first * k;
    merge.lists = lists.data();
    merge.num_lists = workers;
    merge.batch = batch;
    merge.k = k;
    kernels::topk_merge(Cpu{}, context, merge);
  }
}

}  // namespace sparsexmc

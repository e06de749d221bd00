// Running averages of weights: element by element, so that any cut gives the same bits.
#include "formulas.h"
#include "fp32.h"
#include "simd.h"
#include "table.h"
#include "update.h"

namespace sparsexmc::cpu::SPARSEXMC_ISA {

using kernels::AverageStep;
using kernels::StoreAverage;

namespace {

constexpr int64_t item_elements = 1 << 16;  // 512 KiB of both tensors

/// body(first, last) of every piece of `count` elements.
template <class Body>
void for_pieces(ThreadPool& threads, int64_t count, Body&& body) {
  parallel_for(threads, ceil_div(count, item_elements),
               [&](int64_t item, int) { body(item * item_elements, smaller((item + 1) * item_elements, count)); });
}

SPARSEXMC_INLINE void copy(float* to, const float* from, int64_t first, int64_t last) {
  for (int64_t i = first; i < last; i += width) store_first(to + i, load_first(from + i, last - i), last - i);
}

}  // namespace

void average_step(ThreadPool& threads, const AverageStep& p) {
  const float* weights = fp32(p.weights);
  for_pieces(threads, p.count, [&](int64_t first, int64_t last) {
    if (p.rate == 1.0f) return copy(p.average, weights, first, last);
    for (int64_t i = first; i < last; i += width) {
      Vec average = load_first(p.average + i, last - i);
      formulas::running_average<VectorMath>(average, load_first(weights + i, last - i), p.rate);
      store_first(p.average + i, average, last - i);
    }
  });
}

void store_average(ThreadPool& threads, const StoreAverage& p) {
  for_pieces(threads, p.count, [&](int64_t first, int64_t last) { copy(fp32(p.weights), p.average, first, last); });
}

}  // namespace sparsexmc::cpu::SPARSEXMC_ISA

// The CPU's kernels, a line each. The table of an instruction set, its declarations and the overloads of kernels.h that
// forward to it follow from this list (table.h, table.cpp, dispatch.cpp).
#pragma once

#include "kernels.h"
#include "sparsexmc/thread_pool.h"

/// KERNEL(name, Parameters): void name(ThreadPool&, const Parameters&), which kernels.h declares with a Context.
/// SIZES(Result, name, (parameters), (their names)): what a kernel needs, by sizes alone.
#define SPARSEXMC_CPU_KERNELS(KERNEL, SIZES)                                                                           \
  SIZES(kernels::StepSizes, step_sizes,                                                                                \
        (const kernels::Machine& machine, const kernels::Segment* segments, int64_t num_segments, int64_t batch,       \
         DType compute),                                                                                               \
        (machine, segments, num_segments, batch, compute))                                                             \
  KERNEL(fan_in_step, FanInStep)                                                                                       \
  KERNEL(reduce_parts, ReduceParts)                                                                                    \
  KERNEL(gather_columns, GatherColumns)                                                                                \
  KERNEL(scatter_columns, ScatterColumns)                                                                              \
  SIZES(kernels::TopKSizes, topk_sizes,                                                                                \
        (const kernels::Machine& machine, const kernels::Segment* segments, int64_t num_segments, int64_t batch),      \
        (machine, segments, num_segments, batch))                                                                      \
  KERNEL(topk, TopK)                                                                                                   \
  KERNEL(topk_merge, TopKMerge)                                                                                        \
  SIZES(int64_t, nearest_rows_scratch, (int64_t workers, int64_t batch, int64_t features), (workers, batch, features)) \
  KERNEL(nearest_rows, NearestRows)                                                                                    \
  KERNEL(hidden_forward, HiddenForward)                                                                                \
  SIZES(int64_t, hidden_backward_scratch,                                                                              \
        (const kernels::Machine& machine, int64_t features, int64_t units, int64_t ldx, DType compute),                \
        (machine, features, units, ldx, compute))                                                                      \
  KERNEL(hidden_backward, HiddenBackward)                                                                              \
  KERNEL(sparse_hidden_forward, SparseHiddenForward)                                                                   \
  KERNEL(sparse_hidden_backward, SparseHiddenBackward)                                                                 \
  KERNEL(init_segment, InitSegment)                                                                                    \
  KERNEL(init_hidden, InitHidden)                                                                                      \
  SIZES(int64_t, rewire_scratch,                                                                                       \
        (const kernels::Machine& machine, const kernels::Segment& segment, int64_t ldx, int64_t kept),                 \
        (machine, segment, ldx, kept))                                                                                 \
  KERNEL(rewire_step, RewireStep)                                                                                      \
  KERNEL(average_step, AverageStep)                                                                                    \
  KERNEL(store_average, StoreAverage)

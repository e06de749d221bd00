// The kernels of one instruction set, as a table of functions that dispatch.cpp chooses from.
#pragma once

#include "kernels.h"
#include "sparsexmc/thread_pool.h"

namespace sparsexmc::cpu {

struct KernelTable {
  kernels::StepSizes (*step_sizes)(const kernels::Machine&, const kernels::Segment*, int64_t num_segments,
                                   int64_t batch, DType compute);
  void (*fan_in_step)(ThreadPool&, const kernels::FanInStep&);
  void (*reduce_parts)(ThreadPool&, const kernels::ReduceParts&);
  void (*gather_columns)(ThreadPool&, const kernels::GatherColumns&);
  void (*scatter_columns)(ThreadPool&, const kernels::ScatterColumns&);
  kernels::TopKSizes (*topk_sizes)(const kernels::Machine&, const kernels::Segment*, int64_t num_segments,
                                   int64_t batch);
  void (*topk)(ThreadPool&, const kernels::TopK&);
  void (*topk_merge)(ThreadPool&, const kernels::TopKMerge&);
  int64_t (*nearest_rows_scratch)(int64_t workers, int64_t batch, int64_t features);
  void (*nearest_rows)(ThreadPool&, const kernels::NearestRows&);
  void (*hidden_forward)(ThreadPool&, const kernels::HiddenForward&);
  int64_t (*hidden_backward_scratch)(const kernels::Machine&, int64_t units, int64_t ldx);
  void (*hidden_backward)(ThreadPool&, const kernels::HiddenBackward&);
  void (*sparse_hidden_forward)(ThreadPool&, const kernels::SparseHiddenForward&);
  void (*sparse_hidden_backward)(ThreadPool&, const kernels::SparseHiddenBackward&);
  void (*init_segment)(ThreadPool&, const kernels::InitSegment&);
  void (*init_hidden)(ThreadPool&, const kernels::InitHidden&);
  int64_t (*rewire_scratch)(const kernels::Machine&, const kernels::Segment&, int64_t ldx, int64_t kept);
  void (*rewire_step)(ThreadPool&, const kernels::RewireStep&);
};

#if defined(SPARSEXMC_ISA)
namespace SPARSEXMC_ISA {
kernels::StepSizes step_sizes(const kernels::Machine&, const kernels::Segment*, int64_t num_segments, int64_t batch,
                              DType compute);
void fan_in_step(ThreadPool&, const kernels::FanInStep&);
void reduce_parts(ThreadPool&, const kernels::ReduceParts&);
void gather_columns(ThreadPool&, const kernels::GatherColumns&);
void scatter_columns(ThreadPool&, const kernels::ScatterColumns&);
kernels::TopKSizes topk_sizes(const kernels::Machine&, const kernels::Segment*, int64_t num_segments, int64_t batch);
void topk(ThreadPool&, const kernels::TopK&);
void topk_merge(ThreadPool&, const kernels::TopKMerge&);
int64_t nearest_rows_scratch(int64_t workers, int64_t batch, int64_t features);
void nearest_rows(ThreadPool&, const kernels::NearestRows&);
void hidden_forward(ThreadPool&, const kernels::HiddenForward&);
int64_t hidden_backward_scratch(const kernels::Machine&, int64_t units, int64_t ldx);
void hidden_backward(ThreadPool&, const kernels::HiddenBackward&);
void sparse_hidden_forward(ThreadPool&, const kernels::SparseHiddenForward&);
void sparse_hidden_backward(ThreadPool&, const kernels::SparseHiddenBackward&);
void init_segment(ThreadPool&, const kernels::InitSegment&);
void init_hidden(ThreadPool&, const kernels::InitHidden&);
int64_t rewire_scratch(const kernels::Machine&, const kernels::Segment&, int64_t ldx, int64_t kept);
void rewire_step(ThreadPool&, const kernels::RewireStep&);
const KernelTable& table();
}  // namespace SPARSEXMC_ISA
#endif

}  // namespace sparsexmc::cpu

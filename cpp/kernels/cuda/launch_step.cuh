// Which of the step's kernels runs: the types of a step, and the launch for one of them.
#pragma once

#include "group_update.cuh"
#include "step_layout.h"

namespace sparsexmc::cuda {

/// Calls body(StepTypes<...>{}). fp32 products always take 32 columns, single labels 32 rows.
template <class Body>
void visit_step_types(DType compute, DType weights, int64_t group_size, int columns, Body&& body) {
  const auto with_rows = [&]<class T, class W, int Columns>() {
    if (group_size == 1)
      body(StepTypes<T, W, 32, Columns, true>{});
    else if (tile_rows(group_size) == 16)
      body(StepTypes<T, W, 16, Columns, false>{});
    else
      body(StepTypes<T, W, 32, Columns, false>{});
  };
  const auto with_weights = [&]<class T, int Columns>() {
    if (weights == DType::bfloat16)
      with_rows.template operator()<T, bfloat16, Columns>();
    else
      with_rows.template operator()<T, float, Columns>();
  };
  if (compute == DType::float32)
    with_weights.template operator()<float, 32>();
  else if (columns == 64)
    with_weights.template operator()<bfloat16, 64>();
  else
    with_weights.template operator()<bfloat16, 32>();
}

template <class Types>
void launch_step(cudaStream_t stream, const StepLayout& layout, const GroupStepArguments& a, bool with_update,
                 void* scratch, Types) {
  Launch step{layout.parts * layout.column_tiles, block_threads};
  step.shared = GroupStepRoom<Types>::bytes(layout.window);
  step.grid_y = layout.windows;
  if (layout.fused && with_update) {
    step.cluster = static_cast<int>(layout.column_tiles);
    launch(stream, step, &group_step_kernel<Types, true>, a, "group_step_kernel");
    return;
  }
  // dX needs the weights from before the update, so it comes first.
  launch(stream, step, &group_step_kernel<Types, false>, a, "group_step_kernel");
  if (!with_update) return;
  const Launch update{layout.update_blocks, block_threads, GroupUpdateRoom<Types>::bytes};
  launch(stream, update, &group_update_kernel<Types>, GroupUpdateArguments{a, scratch}, "group_update_kernel");
}

}  // namespace sparsexmc::cuda

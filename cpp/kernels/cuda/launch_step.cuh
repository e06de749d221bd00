// Which of the step's kernels runs: the types of a step, and the launch for one of them.
#pragma once

#include "group_update.cuh"
#include "row_types.cuh"

namespace sparsexmc::cuda {

/// Calls body(StepTypes<...>{}). fp32 products always take 32 columns, single labels 32 rows.
template <class Body>
void visit_step_types(DType compute, DType weights, int64_t group_size, int columns, Body&& body) {
  visit_row_types(compute, weights, group_size, [&]<class T, class W, int Rows, bool labels>() {
    if constexpr (!is_fp32<T>) {
      if (columns == 64) {
        body(StepTypes<T, W, Rows, 64, labels>{});
        return;
      }
    }
    body(StepTypes<T, W, Rows, 32, labels>{});
  });
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

// The fused training step over one segment: layout and launches.
#include <cstdlib>
#include <string>

#include "group_update.cuh"
#include "launch_step.cuh"
#include "reduce_parts.cuh"
#include "sparsexmc/error.h"
#include "step_layout.h"

namespace sparsexmc::cuda {
namespace {

/// Shared memory of a block in front of its dX, for the larger number of rows.
int64_t room_before_dx(int columns, DType compute) {
  if (compute == DType::float32) return GroupStepRoom<StepTypes<float, float, 32, 32, false>>::dx;
  return columns == 64 ? GroupStepRoom<StepTypes<bfloat16, float, 32, 64, false>>::dx
                       : GroupStepRoom<StepTypes<bfloat16, float, 32, 32, false>>::dx;
}

int64_t clusters_of(const kernels::Machine& machine, int64_t blocks) {
  for (int i = 0; i < 5; ++i)
    if (blocks <= int64_t{1} << i) return machine.clusters[i];
  return 0;
}

/// SPARSEXMC_CUDA_STEP=split takes two kernels even where one could do, for measurements.
bool may_fuse() {
  const char* text = std::getenv("SPARSEXMC_CUDA_STEP");
  return text == nullptr || std::string(text) != "split";
}

}  // namespace

StepLayout step_layout(const kernels::Machine& machine, int64_t in_features, int64_t batch, DType compute) {
  StepLayout best;
  for (const int columns : {64, 32}) {
    if (columns == 64 && (compute == DType::float32 || batch <= 32)) continue;
    StepLayout layout;
    layout.columns = columns;
    layout.column_tiles = ceil_div(batch, columns);
    const int64_t room = machine.shared_bytes - room_before_dx(columns, compute);
    const int64_t fits = room / (int64_t{4} * columns) / chunk_features * chunk_features;
    if (fits <= 0)
      throw DeviceError("the card offers " + std::to_string(machine.shared_bytes) +
                        " bytes of shared memory per block; sparsexmc needs at least 64 KiB");
    const int64_t clusters = clusters_of(machine, layout.column_tiles);
    layout.fused = may_fuse() && clusters > 0 && in_features * 4 * columns <= room;
    layout.window = in_features * 4 * columns <= room ? in_features : fits;
    layout.windows = ceil_div(in_features, layout.window);
    layout.parts =
        layout.fused ? clusters : larger<int64_t>(1, machine.workers / (layout.column_tiles * layout.windows));
    layout.update_blocks = layout.fused ? 0 : 2 * machine.workers;  // two fit a multiprocessor
    if (layout.fused) return layout;
    // Without a cluster: fewer windows first (each makes the logits again), then wider blocks.
    if (best.columns == 0 || layout.windows < best.windows) best = layout;
  }
  return best;
}

}  // namespace sparsexmc::cuda

namespace sparsexmc::kernels {

using namespace cuda;

int64_t leading_dimension(Cuda, int64_t batch) { return round_up(batch, 64); }

StepSizes step_sizes(Cuda, const Machine& machine, const Segment* segments, int64_t num_segments, int64_t batch,
                     DType compute) {
  StepSizes sizes;
  const int64_t features = segments[0].in_features;
  int64_t rows = 0;
  for (int64_t i = 0; i < num_segments; ++i) rows = larger<int64_t>(rows, tile_rows(segments[i].group_size));
  for (int64_t b = smaller<int64_t>(batch, 32);; b = smaller(b + 32, batch)) {  // a layout changes at multiples of 32
    const StepLayout layout = step_layout(machine, features, b, compute);
    const int64_t ldx = leading_dimension(Cuda{}, b);
    sizes.parts = larger(sizes.parts, layout.parts);
    sizes.dx_floats = larger(sizes.dx_floats, layout.parts * features * ldx);
    sizes.losses = larger(sizes.losses, layout.parts * layout.column_tiles);
    sizes.scratch_bytes =
        larger(sizes.scratch_bytes, layout.update_blocks * rows * ldx * static_cast<int64_t>(dtype_size(compute)));
    if (b == batch) break;
  }
  return sizes;
}

void fan_in_step(Cuda, Context& context, const FanInStep& p) {
  const StepLayout layout =
      step_layout(machine(Cuda{}, context.device(), 0), p.segment.in_features, p.batch, p.compute);
  GroupStepArguments a{};
  a.segment = p.segment;
  a.xt = p.xt;
  a.ldx = p.ldx;
  a.batch = p.batch;
  a.positives = p.positives;
  a.num_positives = p.num_positives;
  a.dx_parts = p.dx_parts;
  a.loss_parts = p.loss_parts;
  a.parts = layout.parts;
  a.column_tiles = layout.column_tiles;
  a.window = layout.window;
  a.zero_dx = p.zero_dx;
  a.zero_loss = p.zero_loss;
  a.loss = {p.loss, p.loss_scale / static_cast<float>(p.batch), p.logit_scale, p.instance_weights, p.normaliser, p.ldx};
  a.update = {p.optimizer, p.seed, p.step, p.first_row};
  a.skip = p.skip;
  const auto stream = static_cast<cudaStream_t>(context.stream().handle);
  visit_step_types(p.compute, p.segment.weights.dtype, p.segment.group_size, layout.columns,
                   [&](auto types) { launch_step(stream, layout, a, p.update, p.scratch, types); });
}

void reduce_parts(Cuda, Context& context, const ReduceParts& p) {
  const StepLayout layout = step_layout(machine(Cuda{}, context.device(), 0), p.in_features, p.batch, p.compute);
  const ReduceArguments a{p, layout.parts, layout.parts * layout.column_tiles};
  launch(static_cast<cudaStream_t>(context.stream().handle),
         Launch{ceil_div(p.in_features * p.ldx, block_threads), block_threads}, &reduce_parts_kernel, a,
         "reduce_parts_kernel");
}

}  // namespace sparsexmc::kernels

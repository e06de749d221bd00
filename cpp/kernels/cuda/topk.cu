// Fused top-k over one segment and the merge of its lists: layout and launches.
#include "topk.cuh"

#include "row_types.cuh"
#include "topk_merge.cuh"

namespace sparsexmc::cuda {
namespace {

/// Calls body(TopKTypes<...>{}).
template <class Body>
void visit_types(const kernels::TopK& p, Body&& body) {
  visit_row_types(p.compute, p.segment.weights.dtype, p.segment.group_size,
                  [&]<class T, class W, int Rows, bool labels>() { body(TopKTypes<T, W, Rows, labels>{}); });
}

}  // namespace
}  // namespace sparsexmc::cuda

namespace sparsexmc::kernels {

using namespace cuda;

TopKSizes topk_sizes(Cuda, const Machine& machine, const Segment*, int64_t, int64_t batch) {
  int64_t most = 0;  // lists of all instances; a smaller batch has more of each instance
  for (int64_t tiles = 1; tiles <= column_tiles_of(batch); ++tiles) {
    const int64_t b = smaller(tiles * topk_columns, batch);
    most = larger(most, parts_of(machine, b) * b);
  }
  return {ceil_div(most, batch), 0};
}

void topk(Cuda, Context& context, const TopK& p) {
  const TopKArguments a{p, parts_of(machine(Cuda{}, context.device(), 0), p.batch), column_tiles_of(p.batch)};
  const auto stream = static_cast<cudaStream_t>(context.stream().handle);
  visit_types(p, [&](auto types) {
    using Types = decltype(types);
    launch(stream, Launch{a.parts * a.column_tiles, block_threads, Types::shared}, &topk_kernel<Types>, a,
           "topk_kernel");
  });
}

void topk_merge(Cuda, Context& context, const TopKMerge& p) {
  TopKMerge a = p;
  a.num_lists = parts_of(machine(Cuda{}, context.device(), 0), p.batch);  // what topk has filled; p says how many fit
  launch(static_cast<cudaStream_t>(context.stream().handle), Launch{p.batch, block_threads}, &topk_merge_kernel, a,
         "topk_merge_kernel");
}

}  // namespace sparsexmc::kernels

// Pass 1 of a normalised loss over one segment, and its end: layout and launches.
#include "normalise.cuh"

#include "row_types.cuh"

namespace sparsexmc::kernels {

using namespace cuda;

NormaliseSizes normalise_sizes(Cuda, const Machine& machine, const Segment*, int64_t, int64_t batch, DType) {
  const int64_t ldx = leading_dimension(Cuda{}, batch);
  int64_t most = 0;  // of all instances; a smaller batch has more parts
  for (int64_t tiles = 1; tiles <= column_tiles_of(batch); ++tiles) {
    const int64_t b = smaller(tiles * topk_columns, batch);
    most = larger(most, parts_of(machine, b) * leading_dimension(Cuda{}, b));
  }
  return {ceil_div(most, ldx), 0};
}

void normalise(Cuda, Context& context, const Normalise& p) {
  const NormaliseArguments a{p, parts_of(machine(Cuda{}, context.device(), 0), p.batch), column_tiles_of(p.batch)};
  const auto stream = static_cast<cudaStream_t>(context.stream().handle);
  visit_row_types(p.compute, p.segment.weights.dtype, p.segment.group_size,
                  [&]<class T, class W, int Rows, bool labels>() {
                    using Types = NormaliseTypes<T, W, Rows, labels>;
                    launch(stream, Launch{a.parts * a.column_tiles, block_threads, Types::shared},
                           &normalise_kernel<Types>, a, "normalise_kernel");
                  });
}

void finish_normaliser(Cuda, Context& context, const FinishNormaliser& p) {
  FinishNormaliser a = p;
  a.parts = parts_of(machine(Cuda{}, context.device(), 0), p.batch);  // what normalise has filled
  launch(static_cast<cudaStream_t>(context.stream().handle), Launch{1, block_threads, 32 * sizeof(double)},
         &finish_normaliser_kernel, a, "finish_normaliser_kernel");
}

}  // namespace sparsexmc::kernels

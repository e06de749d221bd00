// Running averages of weights: launches.
#include "average.cuh"

namespace sparsexmc::kernels {

using namespace cuda;

namespace {

Launch average_launch(int64_t count) {
  return {ceil_div(count, int64_t{average_per_thread} * average_threads), average_threads};
}

}  // namespace

void average_step(Cuda, Context& context, const AverageStep& p) {
  visit_compute(p.weights.dtype, [&]<class W>(W) {
    launch(static_cast<cudaStream_t>(context.stream().handle), average_launch(p.count), &average_step_kernel<W>, p,
           "average_step_kernel");
  });
}

void store_average(Cuda, Context& context, const StoreAverage& p) {
  visit_compute(p.weights.dtype, [&]<class W>(W) {
    launch(static_cast<cudaStream_t>(context.stream().handle), average_launch(p.count), &store_average_kernel<W>, p,
           "store_average_kernel");
  });
}

}  // namespace sparsexmc::kernels

// The hidden layer over sparse rows: launches.
#include "sparse_hidden.cuh"

namespace sparsexmc::kernels {

using namespace cuda;

void sparse_hidden_forward(Cuda, Context& context, const SparseHiddenForward& p) {
  const auto stream = static_cast<cudaStream_t>(context.stream().handle);
  launch(stream, by_item_and_units(p.batch, p.units), &sparse_hidden_sums_kernel, p, "sparse_hidden_sums_kernel");
  visit_compute(p.compute, [&]<class T>(T) {
    launch(stream, transpose_launch(p.ldx, p.units), &sparse_hidden_activation_kernel<T>, p,
           "sparse_hidden_activation_kernel");
  });
}

void sparse_hidden_backward(Cuda, Context& context, const SparseHiddenBackward& p) {
  const auto stream = static_cast<cudaStream_t>(context.stream().handle);
  launch_activation_gradient(stream, p, nullptr);
  launch(stream, transpose_launch(p.units, p.batch), &sparse_hidden_rows_kernel, p, "sparse_hidden_rows_kernel");
  launch(stream, by_item_and_units(p.num_runs, p.units), &sparse_hidden_update_kernel, p,
         "sparse_hidden_update_kernel");
}

}  // namespace sparsexmc::kernels

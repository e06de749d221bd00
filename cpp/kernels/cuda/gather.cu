// Embeddings in and embedding gradients out: launches.
#include "gather.cuh"

namespace sparsexmc::kernels {

using namespace cuda;

void gather_columns(Cuda, Context& context, const GatherColumns& p) {
  visit_compute(p.compute, [&]<class T>(T) {
    visit_embedding(p.dtype, [&]<class E>(E) {
      launch(static_cast<cudaStream_t>(context.stream().handle), transpose_launch(p.ldx, p.features),
             &gather_columns_kernel<T, E>, p, "gather_columns_kernel");
    });
  });
}

void scatter_columns(Cuda, Context& context, const ScatterColumns& p) {
  visit_embedding(p.dtype, [&]<class E>(E) {
    launch(static_cast<cudaStream_t>(context.stream().handle), transpose_launch(p.features, p.batch),
           &scatter_columns_kernel<E>, p, "scatter_columns_kernel");
  });
}

}  // namespace sparsexmc::kernels

// Not run: proves that nvcc takes the kernels of these tests as they are.
#include "kernels.cuh"

namespace sparsexmc::cuda::test {

void launch_all(cudaStream_t stream) {
  constexpr int threads = 64;
  launch(stream, {1, threads}, row_sums_kernel<threads>, RowSums{}, "row_sums");
  launch(stream, {1, 32}, exchange_kernel<>, Exchange{}, "exchange");
  launch(stream, {1, 32}, small_product_kernel<false, false>, SmallProduct{}, "small_product");
  launch(stream, {1, 32}, small_product_kernel<true, true>, SmallProduct{}, "small_product");
  launch(stream, {1, 32}, fragments_kernel<>, Fragments{}, "fragments");
  launch(stream, {4, threads, 1024, 4}, cluster_sum_kernel<threads>, ClusterSum{}, "cluster_sum");
  launch(stream, {1, threads}, staged_copy_kernel<threads, 1>, StagedCopy{}, "staged_copy");
  launch(stream, {1, threads}, neighbours_kernel<threads, true>, Neighbours{}, "neighbours");
  SPARSEXMC_CUDA_CHECK(cudaStreamSynchronize(stream));
}

}  // namespace sparsexmc::cuda::test

// The dense hidden layer: launches. True fp32 products of large layers go to cuBLAS where there is one, since our own
// fp32 kernel is plain. On bf16 our kernels use the tensor cores themselves, and need no bf16 copy of the weights.
#include "cublas.h"
#include "hidden.cuh"
#include "machine_probe.cuh"

namespace sparsexmc::kernels {

using namespace cuda;

namespace {

/// Bytes that cuBLAS gets to work in, 0 where our own kernel does the products. NVIDIA recommends 32 MiB from Hopper
/// on and 4 MiB before. What it is for, partial sums of a product that is cut along its depth, is some copies of the
/// output; the number of copies and the size from which cuBLAS pays are guesses, not measured.
int64_t cublas_workspace(const Machine& machine, int64_t features, int64_t units, int64_t ldx, DType compute) {
  constexpr int64_t worthwhile = int64_t{1} << 24;  // multiply-adds
  constexpr int64_t copies = 16;
  if (compute != DType::float32 || features * units * ldx < worthwhile) return 0;
  const bool has_clusters = machine.clusters[1] > 0;  // Hopper and later
  const int64_t recommended = int64_t{has_clusters ? 32 : 4} << 20;
  return smaller(recommended, copies * larger(features, units) * ldx * static_cast<int64_t>(sizeof(float)));
}

/// out [rows, ldx] = weight (or its transpose) times in [depth, ldx]; false: to be done by our own kernel.
template <class Params>
bool product_by_cublas(Context& context, const Params& p, CublasProduct product) {
  const int index = context.device().index;
  product.workspace = p.scratch;
  product.workspace_bytes = cublas_workspace(find_machine(index), p.features, p.units, p.ldx, p.compute);
  if (product.workspace_bytes == 0) return false;
  product.weight = p.weight;
  product.features = p.features;
  product.units = p.units;
  product.columns = p.ldx;
  return Cublas::instance().multiply(index, context.stream().handle, product);
}

}  // namespace

int64_t hidden_forward_scratch(Cuda, const Machine& machine, int64_t features, int64_t units, int64_t ldx,
                               DType compute) {
  return cublas_workspace(machine, features, units, ldx, compute);
}

void hidden_forward(Cuda, Context& context, const HiddenForward& p) {
  const auto stream = static_cast<cudaStream_t>(context.stream().handle);
  CublasProduct product;
  product.out = static_cast<float*>(p.ht);
  product.in = static_cast<const float*>(p.xt);
  product.weight_transposed = true;
  if (product_by_cublas(context, p, product)) {
    launch(stream, Launch{ceil_div(p.units * p.ldx, block_threads), block_threads}, &hidden_activation_kernel, p,
           "hidden_activation_kernel");
    return;
  }
  visit_compute(p.compute, [&]<class T>(T) {
    launch(stream, Launch{product_blocks(p.units, p.ldx), block_threads, product_bytes<T>}, &hidden_forward_kernel<T>,
           p, "hidden_forward_kernel");
  });
}

int64_t hidden_backward_scratch(Cuda, const Machine& machine, int64_t features, int64_t units, int64_t ldx,
                                DType compute) {
  return cublas_workspace(machine, features, units, ldx, compute);
}

void hidden_backward(Cuda, Context& context, const HiddenBackward& p) {
  const auto stream = static_cast<cudaStream_t>(context.stream().handle);
  launch_activation_gradient(stream, p, p.skip);
  CublasProduct product;
  product.out = p.dxt;
  product.in = p.dht;
  // cuBLAS does not look at p.skip, but then nobody looks at dxt.
  const bool done = p.dxt == nullptr || product_by_cublas(context, p, product);
  visit_compute(p.compute, [&]<class T>(T) {
    if (!done)
      launch(stream, Launch{product_blocks(p.features, p.ldx), block_threads, product_bytes<T>},
             &hidden_input_gradient_kernel<T>, p, "hidden_input_gradient_kernel");
    if (p.bias == nullptr) return;
    launch(stream, Launch{product_blocks(p.features, p.units), block_threads, product_bytes<T>},
           &hidden_update_kernel<T>, p, "hidden_update_kernel");
  });
}

}  // namespace sparsexmc::kernels

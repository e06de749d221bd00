// Initial weights and indices: launches.
#include "init.cuh"

namespace sparsexmc::kernels {

using namespace cuda;

void init_segment(Cuda, Context& context, const InitSegment& p) {
  const Segment& s = p.segment;
  const auto stream = static_cast<cudaStream_t>(context.stream().handle);
  visit_compute(s.weights.dtype, [&]<class W>(W) {
    launch(stream, Launch{ceil_div(init_weight_threads(s), init_threads), init_threads}, &init_weights_kernel<W>, p,
           "init_weights_kernel");
  });
  if (s.indices == nullptr) return;
  const Launch by_group{s.groups, warp_size, sizeof(uint64_t) * static_cast<size_t>(FeatureSet::words(s.in_features))};
  launch(stream, by_group, s.wide_indices ? &init_indices_kernel<uint32_t> : &init_indices_kernel<uint16_t>, p,
         "init_indices_kernel");
}

void init_hidden(Cuda, Context& context, const InitHidden& p) {
  const int64_t threads = p.features * ceil_div(p.units, 4);
  launch(static_cast<cudaStream_t>(context.stream().handle), Launch{ceil_div(threads, init_threads), init_threads},
         &init_hidden_kernel, p, "init_hidden_kernel");
}

}  // namespace sparsexmc::kernels

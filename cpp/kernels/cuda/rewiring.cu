// Rewiring of a segment: layout of the scratch and launches.
#include "rewiring.cuh"

#include <vector>

#include "element.cuh"
#include "launch_step.cuh"

namespace sparsexmc::cuda {
namespace {

/// How the groups are cut, and where things lie in the scratch.
///
/// rigl: the growth keys of all groups would be too many. Hence the groups come in waves, whose keys fit.
struct RewireLayout {
  GroupRanges ranges;
  int64_t pack;  // groups whose gradients are made together
  int64_t ranges_per_wave;
  int64_t blocks, gradient_blocks;
  int64_t counts, cut, scales, records, kept, keys, lists, gradients;  // offsets in the scratch
  int64_t bytes = 0;

  RewireLayout(const kernels::Machine& machine, const kernels::Segment& s, int64_t ldx, int64_t num_kept) {
    const bool gradient = num_kept > 0;
    const int64_t most_bytes = machine.workers << 19;  // of each kind, unless one unit needs more
    pack = gradient ? gradient_pack(s.group_size) : 1;
    const int64_t packs = ceil_div(s.groups, pack);
    const int64_t pack_keys = gradient ? pack * s.in_features * int64_t{sizeof(uint32_t)} : 0;
    const int64_t wave_packs = gradient ? smaller(packs, larger<int64_t>(1, most_bytes / pack_keys)) : packs;
    const int64_t range_packs = ceil_div(wave_packs, 1024);
    ranges.groups = s.groups;
    ranges.per_range = pack * range_packs;
    ranges.count = ceil_div(s.groups, ranges.per_range);
    ranges_per_wave = gradient ? wave_packs / range_packs : ranges.count;

    counts = place(sizeof(unsigned long long) * CutPass::bins, 1);
    cut = place(sizeof(Cut), 1);
    records = place(sizeof(RangeRecord), ranges.count);
    scales = place(sizeof(float), s.in_features);
    kept = place(sizeof(KeptBatch), larger<int64_t>(num_kept, 1));
    keys = place(pack_keys, wave_packs);
    blocks = most_units(GroupLists::bytes(s.fan_in), smaller(8 * machine.workers, ranges_per_wave), most_bytes, lists);
    gradient_blocks = gradient ? most_units(gradient_scratch(ldx, num_kept), smaller(2 * machine.workers, wave_packs),
                                            most_bytes, gradients)
                               : 0;
  }

 private:
  int64_t place(int64_t unit, int64_t units) {
    const int64_t start = bytes;
    bytes += round_up(unit * units, 256);
    return start;
  }
  /// As many units as fit most_bytes, one at least. What is set aside for them never decreases when a unit grows: the
  /// plan for more kept batches, or larger ones, holds for fewer.
  int64_t most_units(int64_t unit, int64_t wanted, int64_t most_bytes, int64_t& start) {
    start = place(larger(unit, smaller(unit * wanted, most_bytes)), 1);
    return larger<int64_t>(1, smaller(wanted, most_bytes / unit));
  }
};

using Kernel = void (*)(const RewireArguments);
template <class Growth>
Kernel rewire_kernel_of(DType weights) {
  Kernel kernel = nullptr;
  visit_compute(weights, [&]<class W>(W) { kernel = &rewire_kernel<W, Growth>; });
  return kernel;
}

void launch_gradient(cudaStream_t stream, int64_t blocks, const GradientArguments& a, DType compute) {
  const int columns = compute == DType::float32 ? 32 : 64;
  visit_step_types(compute, a.segment.weights.dtype, a.segment.group_size, columns, [&]<class Types>(Types) {
    if constexpr (Types::Columns * sizeof(typename Types::T) == 128)
      launch(stream, Launch{smaller(blocks, a.packs), block_threads, DenseGradient<Types>::bytes},
             &dense_gradient_kernel<Types>, a, "dense_gradient_kernel");
  });
}

void find_feature_scales(cudaStream_t stream, const FeatureScales& p, DType compute) {
  constexpr int64_t features_per_block = block_threads / warp_size;
  visit_compute(compute, [&]<class T>(T) {
    launch(stream, Launch{ceil_div(p.in_features, features_per_block), block_threads}, &feature_scales_kernel<T>, p,
           "feature_scales_kernel");
  });
}

/// The cut through all scores of the segment that takes `n` connections, and the ties of each range at it.
void find_layer_cut(Context& context, LayerCutArguments a, int64_t n, int64_t most_blocks) {
  const auto stream = static_cast<cudaStream_t>(context.stream().handle);
  const Cut start{0, n};
  kernels::write_device(kernels::Cuda{}, context, a.cut, &start, sizeof start);
  kernels::fill_zero(kernels::Cuda{}, context, a.counts, sizeof(unsigned long long) * CutPass::bins);
  visit_compute(a.segment.weights.dtype, [&]<class W>(W) {
    const int64_t blocks = smaller(ceil_div(a.segment.groups * a.segment.fan_in, block_threads), most_blocks);
    for (a.pass = 0; a.pass < CutPass::passes; ++a.pass) {
      launch(stream, Launch{blocks, block_threads, sizeof(unsigned) * CutPass::bins}, &count_scores_kernel<W>, a,
             "count_scores_kernel");
      launch(stream, Launch{1, warp_size}, &narrow_cut_kernel, a, "narrow_cut_kernel");
    }
    launch(stream, Launch{a.ranges.count, block_threads, rewire_sums}, &count_ties_kernel<W>, a, "count_ties_kernel");
  });
}

/// Sums in the order of the ranges.
void report(const kernels::RewireStep& p, const std::vector<RangeRecord>& records) {
  int64_t changed = 0;
  double dropped = 0.0, grown = 0.0;
  for (const RangeRecord& record : records) {
    changed += record.changed;
    dropped += record.dropped;
    grown += record.grown;
  }
  const double count = static_cast<double>(larger<int64_t>(changed, 1));
  *p.changed = changed;
  *p.score_dropped = dropped / count;
  *p.score_grown = grown / count;
}

}  // namespace
}  // namespace sparsexmc::cuda

namespace sparsexmc::kernels {

using namespace cuda;

int64_t rewire_scratch(Cuda, const Machine& machine, const Segment& segment, int64_t ldx, int64_t kept) {
  return RewireLayout(machine, segment, ldx, kept).bytes;
}

void rewire_step(Cuda, Context& context, const RewireStep& p) {
  const Segment& s = p.segment;
  const Machine card = machine(Cuda{}, context.device(), 0);
  const bool gradient = p.method == RewiringMethod::rigl;
  const RewireLayout layout(card, s, p.ldx, gradient ? p.num_kept : 0);
  const auto stream = static_cast<cudaStream_t>(context.stream().handle);
  auto* scratch = static_cast<unsigned char*>(p.scratch);
  auto* cut = reinterpret_cast<Cut*>(scratch + layout.cut);
  auto* records = reinterpret_cast<RangeRecord*>(scratch + layout.records);
  auto* scales = reinterpret_cast<float*>(scratch + layout.scales);
  auto* kept = reinterpret_cast<KeptBatch*>(scratch + layout.kept);
  write_device(Cuda{}, context, kept, p.kept, sizeof(KeptBatch) * static_cast<size_t>(p.num_kept));
  find_feature_scales(stream, {scales, kept, p.num_kept, s.in_features}, p.compute);
  const double fan_in = static_cast<double>(s.fan_in);
  if (p.scope == RewiringScope::layer)
    find_layer_cut(
        context,
        {s, scales, cut, reinterpret_cast<unsigned long long*>(scratch + layout.counts), 0, layout.ranges, records},
        static_cast<int64_t>(p.fraction * static_cast<double>(s.groups) * fan_in), 8 * card.workers);

  RewireArguments a{};
  a.step = p;
  a.ranges = layout.ranges;
  a.scales = scales;
  a.records = records;
  a.cut = cut;
  a.per_group = static_cast<int64_t>(p.fraction * fan_in);
  a.keys = reinterpret_cast<uint32_t*>(scratch + layout.keys);
  a.scratch = scratch + layout.lists;
  GradientArguments g{};
  if (gradient) g = {s, a.keys, kept, p.num_kept, p.ldx, 0, 0, p.loss, p.logit_scale, scratch + layout.gradients};
  const Kernel kernel =
      gradient ? rewire_kernel_of<GradientGrowth>(s.weights.dtype) : rewire_kernel_of<RandomGrowth>(s.weights.dtype);
  const size_t shared = rewire_sums + BlockSelect::bytes + (gradient ? 0 : RandomGrowth::shared(s.in_features));
  for (a.first_range = 0; a.first_range < layout.ranges.count; a.first_range = a.last_range) {
    a.last_range = smaller(a.first_range + layout.ranges_per_wave, layout.ranges.count);
    if (gradient) {
      g.first_pack = layout.ranges.first_group(a.first_range) / layout.pack;
      g.packs = ceil_div(layout.ranges.first_group(a.last_range), layout.pack) - g.first_pack;
      launch_gradient(stream, layout.gradient_blocks, g, p.compute);
    }
    launch(stream, Launch{smaller(layout.blocks, a.last_range - a.first_range), block_threads, shared}, kernel, a,
           "rewire_kernel");
  }

  std::vector<RangeRecord> outcome(static_cast<size_t>(layout.ranges.count));
  read_device(Cuda{}, context, outcome.data(), records, sizeof(RangeRecord) * outcome.size());
  report(p, outcome);
}

}  // namespace sparsexmc::kernels

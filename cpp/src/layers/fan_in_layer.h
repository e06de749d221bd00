// The output layer: segments of dense and fan-in labels, trained, searched and rewired group by group.
#pragma once

#include <vector>

#include "buffers.h"
#include "layers/batch_sizes.h"
#include "positives.h"
#include "shapes.h"
#include "sparsexmc/classifier.h"

namespace sparsexmc {

class FanInLayer {
 public:
  /// @param compute dtype of the inputs
  FanInLayer(const ClassifierConfig& config, Context& context, const Buffers& buffers, DType compute);

  void initialise(Context& context);

  /// The fused step over all segments. @param xt [H, ldx]
  /// @param loss receives the loss, summed over labels and instances (on the device)
  /// @returns dloss/dx of the batch mean: [H, ldx], inside the buffer "batch.gradients"
  float* step(Context& context, double* loss, const void* xt, const std::vector<SegmentPositives>& positives,
              const BatchSizes& sizes, const kernels::OptimizerStep& optimizer);

  /// The k best labels of every instance, all on the device.
  /// @param lists room for topk_lists() * batch_size * k
  /// candidates
  void topk(Context& context, float* scores, int64_t* ids, kernels::Candidate* lists, const void* xt,
            const uint32_t* label_order, const BatchSizes& sizes, int64_t k) const;
  /// Candidate lists per instance.
  int64_t topk_lists() const { return topk_lists_; }

  /// Rewires every fan-in segment. @param kept per segment, the last batches, one at least
  void rewire(Context& context, std::vector<RewiringRecord>& records,
              const std::vector<std::vector<kernels::KeptBatch>>& kept, int64_t step);

  const std::vector<SegmentShape>& shapes() const { return shapes_; }

 private:
  const ClassifierConfig config_;
  std::vector<SegmentShape> shapes_;
  std::vector<kernels::Segment> segments_;
  DType compute_;
  float* gradients_;
  double* losses_;
  void *step_scratch_, *topk_scratch_, *rewiring_scratch_;
  int64_t parts_, topk_lists_, largest_ldx_, label_tile_;
};

}  // namespace sparsexmc

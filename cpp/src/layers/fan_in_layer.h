// The output layer: segments of dense and fan-in labels, trained, searched and rewired group by group.
#pragma once

#include <vector>

#include "buffers.h"
#include "positives.h"
#include "shapes.h"
#include "sparsexmc/classifier.h"

namespace sparsexmc {

class FanInLayer {
 public:
  FanInLayer(const ClassifierConfig& config, const Buffers& buffers, std::vector<SegmentShape> shapes);

  void initialise(Context& context);

  /// The fused step over all segments. @returns the loss, summed over labels and instances
  /// @param dx [H, ldx], inside the buffer "batch.gradients"; receives dloss/dx of the batch mean
  double step(Context& context, float*& dx, const float* xt, const std::vector<SegmentPositives>& positives,
              int64_t batch, int64_t ldx, const kernels::OptimizerStep& optimizer);

  /// The k best labels of every instance. @param lists room for workers * batch * k candidates
  void topk(Context& context, float* scores, int64_t* ids, kernels::Candidate* lists, const float* xt,
            const uint32_t* label_order, int64_t batch, int64_t ldx, int64_t k) const;

  /// Rewires every fan-in segment. @param kept per segment, the last batches (rigl)
  void rewire(Context& context, std::vector<RewiringRecord>& records,
              const std::vector<std::vector<kernels::KeptBatch>>& kept, int64_t ldx, int64_t step);

  const std::vector<SegmentShape>& shapes() const { return shapes_; }

 private:
  const ClassifierConfig config_;
  std::vector<SegmentShape> shapes_;
  std::vector<kernels::Segment> segments_;
  float *gradients_, *step_scratch_, *topk_scratch_;
  double* losses_;
  void* rewiring_scratch_;
  int64_t parts_, label_tile_;
};

}  // namespace sparsexmc

// The output layer: segments of dense and fan-in labels, trained, searched and rewired group by group. In training the
// meta-classifier is one dense segment more, whose gradient joins theirs.
#pragma once

#include <vector>

#include "layers/batch_sizes.h"
#include "layers/buffers.h"
#include "layers/label_clusters.h"
#include "layers/positives.h"
#include "layers/shapes.h"
#include "sparsexmc/classifier.h"

namespace sparsexmc {

class FanInLayer {
 public:
  /// @param compute what the products read
  FanInLayer(const ClassifierConfig& config, Context& context, const Buffers& buffers, DType compute);

  void initialise(Context& context);
  /// Numbers by user label id take the place of the starting biases, or of the weights of positives; empty: nothing.
  /// @param ids internal row -> user id
  void set_biases(Context& context, const std::vector<float>& biases, const uint32_t* ids);
  void set_positive_weights(Context& context, const std::vector<float>& weights, const uint32_t* ids);

  /// The fused step over all segments. @param xt [H, ldx]
  /// @param loss, auxiliary_loss receive the losses, summed over labels (clusters) and instances (on the device)
  /// @param auxiliary the meta-classifier's part, or none  @param optimizer null: nothing is updated
  /// @returns dloss/dx of the batch mean: [H, ldx], inside the buffer "batch.gradients"
  float* step(Context& context, double* loss, double* auxiliary_loss, const void* xt,
              const std::vector<SegmentPositives>& positives, const std::optional<AuxiliaryStep>& auxiliary,
              const BatchSizes& sizes, const kernels::OptimizerStep* optimizer);

  /// Makes biases + ln(weights) for topk(). They lie where a step has its gradients, which no prediction needs.
  /// @param weights positive, by user label id  @param ids internal row -> user id
  void weigh_labels(Context& context, const float* weights, const uint32_t* ids);

  /// The k best labels of every instance, all on the device.
  /// @param lists room for topk_lists() * batch_size * k candidates
  /// @param weighted take the biases that weigh_labels() made
  void topk(Context& context, float* scores, int64_t* ids, kernels::Candidate* lists, const void* xt,
            const uint32_t* label_order, const BatchSizes& sizes, int64_t k, bool weighted) const;
  /// Candidate lists per instance.
  int64_t topk_lists() const { return topk_lists_; }

  /// Rewires every fan-in segment. @param kept per segment, the last batches, one at least
  void rewire(Context& context, std::vector<RewiringRecord>& records,
              const std::vector<std::vector<kernels::KeptBatch>>& kept, int64_t step);

  const std::vector<SegmentShape>& shapes() const { return shapes_; }

 private:
  /// The parameters of the step that are the same for all segments.
  kernels::FanInStep common_step(const void* xt, const BatchSizes& sizes,
                                 const kernels::OptimizerStep* optimizer) const;

  const ClassifierConfig config_;
  std::vector<SegmentShape> shapes_;        // of labels
  std::vector<kernels::Segment> segments_;  // of labels, then the meta-classifier's
  DType compute_;
  float* gradients_;
  double* losses_;
  void *step_scratch_, *topk_scratch_, *rewiring_scratch_;
  int64_t parts_, losses_per_sum_, topk_lists_, largest_ldx_, label_tile_;
};

}  // namespace sparsexmc

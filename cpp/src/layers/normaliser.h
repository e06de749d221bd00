// Pass 1 of a normalised loss: over the logits of all labels, for a batch and for batches that are kept for a rewiring.
#pragma once

#include <vector>

#include "layers/batch_sizes.h"
#include "layers/buffers.h"
#include "layers/positives.h"
#include "losses.h"

namespace sparsexmc {

/// Buffers of what a normalised loss needs of the instances of a batch, and of batches kept for a rewiring.
inline constexpr const char* normaliser_name = "batch.normaliser";
inline constexpr const char* kept_normalisers_name = "rewiring.kept_normalisers";

/// Whether a loss needs pass 1.
inline bool is_normalised(Loss loss) {
  return losses::visit_loss(loss, [](auto formula) { return decltype(formula)::normalised; });
}

class Normaliser {
 public:
  /// @param config of the model, which outlives this  @param segments those of the labels first, `count` of them
  Normaliser(const ClassifierConfig& config, Context& context, Buffers& buffers, DType compute,
             const std::vector<kernels::Segment>& segments, size_t count);

  /// [4, ldx] of the last batch: see losses::InstanceNormaliser.
  float* numbers() const { return numbers_; }

  /// Makes numbers of instances over these segments. @param to [4, ldx]  @param positives one list per segment
  /// @param loss gets the part of the loss that is one number per instance; null: not asked for
  void make(float* to, double* loss, const std::vector<kernels::Segment>& segments,
            const std::vector<SegmentPositives>& positives, const void* inputs, const float* instance_weights,
            const BatchSizes& sizes) const;
  /// Kept batches, by segment, with the normalisers that these segments give them.
  std::vector<std::vector<kernels::KeptBatch>> of_kept(const std::vector<kernels::Segment>& segments,
                                                       std::vector<std::vector<kernels::KeptBatch>> kept) const;

 private:
  const ClassifierConfig& config_;
  Context& context_;
  const DType compute_;
  float *statistics_, *numbers_, *kept_;
  void* scratch_;
  int64_t parts_ = 1, largest_ldx_ = 0;
};

}  // namespace sparsexmc

// The seam between a classifier and its output layer: all that a classifier asks of the layer that has the labels.
// Users' label ids go in and come out; which rows stand for a label is the layer's matter.
#pragma once

#include <optional>
#include <vector>

#include "layers/batch_sizes.h"
#include "layers/label_clusters.h"
#include "layers/label_order.h"
#include "layers/positives.h"
#include "layers/shapes.h"
#include "sparsexmc/classifier.h"
#include "sparsexmc/csr_matrix.h"

namespace sparsexmc {

/// Buffer of the weights of a batch's instances.
inline constexpr const char* instance_weights_name = "batch.instance_weights";
/// Losses that a step reports: of the labels, and of a meta-classifier.
inline int64_t loss_sums(const ClassifierConfig& config) { return config.auxiliary ? 2 : 1; }

/// A batch in front of the output layer.
struct OutputBatch {
  const void* inputs;  // [H, ldx]
  BatchSizes sizes;
  std::vector<SegmentPositives> positives;  // as stage() made them
  const float* instance_weights;            // [ldx] on the device, 0 after the batch; null: 1
  std::optional<AuxiliaryStep> auxiliary;   // the meta-classifier's part, or none
};

/// Where a step puts its losses, on the device: sums over labels (clusters) and instances.
struct LossSums {
  double* loss;
  double* auxiliary;
};

/// The rows that regroup() may put into other groups, and what they have learned.
struct RegroupableRows {
  int64_t first_row;
  int64_t group_size;
  CsrMatrix weights;  // [rows, H]
};

class OutputLayer {
 public:
  virtual ~OutputLayer() = default;

  // ---- rows ----
  /// The segments of rows that this layer holds, in the internal order. A shard lists those of its own range.
  virtual const std::vector<SegmentShape>& shapes() const = 0;
  /// Which row is a label? With hashed labels this becomes: which rows.
  virtual LabelOrder& labels() = 0;
  virtual const LabelOrder& labels() const = 0;

  /// Random weights and connections, as the seed says; all else as the configuration.
  virtual void initialise() = 0;
  /// Numbers by user label id take the place of the starting biases, or of the weights of positives; empty: nothing.
  virtual void set_biases(const std::vector<float>& biases) = 0;
  virtual void set_positive_weights(const std::vector<float>& weights) = 0;

  // ---- a training step, or an evaluation: these four in turn ----
  // A communicator comes between them: it merges the statistics of normalise(), and sums what reduce() gives.

  /// The positives of a batch, on the device, by segment. Nothing of the model has changed if this throws.
  virtual std::vector<SegmentPositives> stage(const LabelsView& labels) = 0;
  /// Pass 1: statistics of each instance over all rows, which a normalised loss needs before any gradient. Elementwise
  /// losses have none.
  virtual void normalise(const OutputBatch& /*batch*/) {}
  /// Pass 2, the fused step: losses and dX in parts, and the update. @param optimizer null: nothing is updated
  virtual void step(const OutputBatch& batch, const kernels::OptimizerStep* optimizer) = 0;
  /// Sums the parts in a fixed order. @returns dloss/dinputs of the batch mean: [H, ldx], until the next step
  virtual float* reduce(const OutputBatch& batch, const LossSums& losses) = 0;

  // ---- prediction ----
  /// Makes biases + ln(weights) for topk(). @param weights positive, by user label id
  virtual void weigh_labels(const float* weights) = 0;
  /// The k best labels of every instance as user label ids, on the device: [batch, k] each.
  /// @param weighted take the biases that weigh_labels() made
  virtual void topk(float* scores, int64_t* ids, const void* inputs, const BatchSizes& sizes, int64_t k,
                    bool weighted) = 0;

  // ---- running averages of the weights ----
  /// Their slots have come or gone; the trained weights predict.
  virtual void find_averages() = 0;
  /// Whether they predict and are evaluated in place of the trained weights; a step trains these in any case.
  virtual void use_averages(bool use) = 0;

  // ---- connections ----
  /// Rewires every fan-in segment. @param kept per segment, the last batches, one at least
  virtual void rewire(std::vector<RewiringRecord>& records, const std::vector<std::vector<kernels::KeptBatch>>& kept,
                      int64_t step, double fraction) = 0;
  /// @throws ArgumentError where there are no groups
  virtual RegroupableRows regroupable_rows() const = 0;
  /// Changes the internal order: see Classifier::regroup. @throws ArgumentError; nothing has changed
  virtual void regroup(const int64_t* order) = 0;
};

}  // namespace sparsexmc

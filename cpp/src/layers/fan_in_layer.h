// The output layer: segments of dense and fan-in labels, trained, searched and rewired group by group. In training the
// meta-classifier is one dense segment more, whose gradient joins theirs.
#pragma once

#include <optional>
#include <vector>

#include "layers/buffers.h"
#include "layers/normaliser.h"
#include "layers/output_layer.h"
#include "layers/tensor_spec.h"

namespace sparsexmc {

class FanInLayer final : public OutputLayer {
 public:
  /// @param config of the model, which outlives this  @param compute what the products read
  /// @param trainable false: only prediction is asked for
  FanInLayer(const ClassifierConfig& config, Context& context, Buffers& buffers, DType compute, bool trainable);

  const std::vector<SegmentShape>& shapes() const override { return shapes_; }
  LabelOrder& labels() override { return labels_; }
  const LabelOrder& labels() const override { return labels_; }

  void initialise() override;
  void set_biases(const std::vector<float>& biases) override;
  void set_positive_weights(const std::vector<float>& weights) override;

  std::vector<SegmentPositives> stage(const LabelsView& labels) override;
  void normalise(const OutputBatch& batch) override;
  void step(const OutputBatch& batch, const kernels::OptimizerStep* optimizer) override;
  float* reduce(const OutputBatch& batch, const LossSums& losses) override;

  void weigh_labels(const float* weights) override;
  void topk(float* scores, int64_t* ids, const void* inputs, const BatchSizes& sizes, int64_t k,
            bool weighted) override;

  void find_averages() override;
  void use_averages(bool use) override { averages_in_use_ = use; }

  void rewire(std::vector<RewiringRecord>& records, const std::vector<std::vector<kernels::KeptBatch>>& batches,
              int64_t step, double fraction) override;
  RegroupableRows regroupable_rows() const override;
  void regroup(const int64_t* order) override;

 private:
  void add_segment(const SegmentShape& shape, int number);
  void find_training_buffers();
  /// Segment i as predictions and evaluations read it.
  const kernels::Segment& predicting(size_t i) const { return averages_in_use_ ? averaged_[i] : segments_[i]; }
  /// The parameters of the step that are the same for all segments.
  kernels::FanInStep common_step(const OutputBatch& batch, const kernels::OptimizerStep* optimizer) const;
  /// Where a normalised loss keeps its sum over instances.
  double* loss_offset() const { return losses_ + loss_sums(config_) * losses_per_sum_; }
  /// A number for every row. @param values by user label id
  void write_rows(float* to, const SegmentShape& shape, const std::vector<float>& values);
  /// The number of the segment that has groups. @throws ArgumentError if there is none
  int tail() const;

  const ClassifierConfig& config_;
  Context& context_;
  Buffers& buffers_;
  const DType compute_;
  const bool trainable_;
  const std::vector<SegmentShape> shapes_;  // of labels
  LabelOrder labels_;
  std::vector<kernels::Segment> segments_;  // of labels, then the meta-classifier's
  std::vector<kernels::Segment> averaged_;  // the same with averages for weights and biases; empty: there are none
  bool averages_in_use_ = false;
  float* gradients_ = nullptr;
  float* weighted_biases_;  // of all segments of labels, padding included
  double* losses_ = nullptr;
  std::optional<Normaliser> normaliser_;  // of a normalised loss, in training
  void *step_scratch_ = nullptr, *topk_scratch_, *rewiring_scratch_ = nullptr;
  int64_t parts_ = 1, losses_per_sum_ = 1, topk_lists_ = 1, largest_ldx_ = 0, label_tile_;
};

}  // namespace sparsexmc

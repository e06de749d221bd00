// The last batches before a RigL rewiring: what the dense gradient is rebuilt from (Rewiring::grow_batches).
#pragma once

#include <optional>
#include <vector>

#include "layers/batch_sizes.h"
#include "layers/buffers.h"
#include "layers/label_order.h"
#include "layers/positives.h"
#include "layers/tensor_spec.h"
#include "sparsexmc/classifier.h"

namespace sparsexmc {

/// Names of their buffers: inputs and weights of instances on the device, and the positives on both.
inline constexpr const char* kept_inputs_name = "rewiring.kept_inputs";
inline constexpr const char* kept_weights_name = "rewiring.kept_weights";
inline constexpr const char* kept_positives_name = "rewiring.kept_positives";

/// The tensors that checkpoints hold of a kept batch.
struct KeptTensors {
  TensorSpec inputs;                           // [H, batch] float32, whatever the buffer holds
  TensorSpec positives;                        // [n, 2]: user label id, instance
  std::optional<TensorSpec> instance_weights;  // [batch], if the batch had any
};
std::vector<KeptTensors> kept_tensors(const ClassifierConfig& config, const std::vector<KeptBatchSize>& sizes);

class KeptBatches {
 public:
  /// @param stored dtype of the inputs
  KeptBatches(const ClassifierConfig& config, Context& context, Buffers& buffers, DType stored);

  /// Whether the batch that makes the count of finished steps `step` is to be kept: if a rewiring comes within
  /// grow_batches steps, this one included.
  bool wanted(int64_t step, int64_t total_steps) const;
  /// Makes room for what keep() will copy, before the step changes anything. @throws MemoryPlanError
  void reserve(const std::vector<SegmentPositives>& positives);
  /// Copies a batch; on a device in the order of the stream.
  /// @param instance_weights [ldx] on the device, or null
  void keep(const void* inputs, const BatchSizes& sizes, const std::vector<SegmentPositives>& positives,
            const float* instance_weights, const std::vector<SegmentShape>& segments, const LabelOrder& labels);
  /// Forgets the batch that keep() took last.
  void forget_last() { entries_.pop_back(); }

  /// The batches as the kernel wants them, per segment, oldest first. They are used up: clear() must follow.
  std::vector<std::vector<kernels::KeptBatch>> sorted(const LabelOrder& labels,
                                                      const std::vector<SegmentShape>& segments);
  void clear() { entries_.clear(); }

  // For checkpoints: sizes, and per batch what KeptTensors names, in host memory.
  std::vector<KeptBatchSize> sizes() const;
  void restore(const std::vector<KeptBatchSize>& sizes);
  void read_inputs(size_t i, float* out) const;
  void write_inputs(size_t i, const float* in);
  void read_weights(size_t i, float* out) const;
  void write_weights(size_t i, const float* in);
  kernels::Positive* positives(size_t i) const { return positives_ + entries_[i].first_positive; }

 private:
  struct Entry {
    int64_t batch;
    int64_t ldx;
    int64_t first_positive;
    int64_t num_positives;
    bool weighted;
  };
  /// Room for `count` positives; the first `used` survive when the buffer has to grow.
  void grow(int64_t used, int64_t count);
  int64_t used_positives() const {
    return entries_.empty() ? 0 : entries_.back().first_positive + entries_.back().num_positives;
  }
  int64_t row_bytes(const Entry& entry) const { return entry.ldx * static_cast<int64_t>(dtype_size(stored_)); }
  void* inputs_of(size_t i) const;
  float* weights_of(size_t i) const { return weights_ + static_cast<int64_t>(i) * largest_ldx_; }

  Context& context_;
  Buffers& buffers_;
  std::optional<Rewiring> rewiring_;
  DType stored_;
  int64_t features_, largest_ldx_, slot_bytes_;
  char* inputs_;                  // [grow_batches] slots
  float* weights_;                // [grow_batches, largest_ldx_]
  kernels::Positive* positives_;  // on the host
  std::vector<Entry> entries_;
};

}  // namespace sparsexmc

// The last batches before a RigL rewiring: what the dense gradient is rebuilt from (Rewiring::grow_batches).
#pragma once

#include <vector>

#include "buffers.h"
#include "positives.h"
#include "sparsexmc/classifier.h"

namespace sparsexmc {

class KeptBatches {
 public:
  KeptBatches(const ClassifierConfig& config, const Buffers& buffers);

  /// Makes room for what keep() will copy, before the step changes anything. @throws MemoryPlanError
  void reserve(Buffers& buffers, int64_t step, const std::vector<SegmentPositives>& positives);
  /// Copies a batch if a rewiring comes within grow_batches steps of the finished step `step`, this one included.
  void keep(int64_t step, const float* inputs, int64_t batch, int64_t ldx,
            const std::vector<SegmentPositives>& positives, const std::vector<SegmentShape>& segments,
            const uint32_t* label_order);

  /// The batches as the kernel wants them, per segment, oldest first. They are forgotten by clear().
  std::vector<std::vector<kernels::KeptBatch>> sorted(Buffers& buffers, const uint32_t* label_rows,
                                                      const std::vector<SegmentShape>& segments);
  void clear() { entries_.clear(); }

  // For checkpoints: sizes, and per batch its inputs [H, batch] and its positives [n, 2] as (user label id, instance).
  std::vector<KeptBatchSize> sizes() const;
  void restore(Buffers& buffers, const std::vector<KeptBatchSize>& sizes);
  void read_inputs(size_t i, float* out) const;
  void write_inputs(size_t i, const float* in);
  kernels::Positive* positives(size_t i) const { return positives_ + entries_[i].first_positive; }

 private:
  struct Entry {
    int64_t batch;
    int64_t first_positive;
    int64_t num_positives;
  };
  bool wanted(int64_t step) const;
  /// Room for `count` positives; the first `used` survive when the buffer has to grow.
  void grow(Buffers& buffers, int64_t used, int64_t count);
  int64_t used_positives() const {
    return entries_.empty() ? 0 : entries_.back().first_positive + entries_.back().num_positives;
  }
  float* inputs_of(size_t i) const { return inputs_ + static_cast<int64_t>(i) * features_ * ldx_; }

  Rewiring rewiring_;
  int64_t features_, ldx_;
  float* inputs_;
  kernels::Positive* positives_;
  std::vector<Entry> entries_;
};

}  // namespace sparsexmc

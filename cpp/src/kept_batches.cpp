#include "kept_batches.h"

#include <algorithm>

namespace sparsexmc {

using kernels::Positive;

namespace {

constexpr const char* positives_buffer = "rewiring.kept_positives";

int64_t total(const std::vector<SegmentPositives>& positives) {
  int64_t count = 0;
  for (const SegmentPositives& p : positives) count += p.count;
  return count;
}

}  // namespace

KeptBatches::KeptBatches(const ClassifierConfig& config, const Buffers& buffers)
    : rewiring_(config.rewiring.value_or(Rewiring{})),
      features_(config.layer_features()),
      ldx_(leading_dimension(config.batch_size)),
      inputs_(buffers.get<float>("rewiring.kept_inputs")),
      positives_(buffers.get<Positive>(positives_buffer)) {}

void KeptBatches::grow(Buffers& buffers, int64_t used, int64_t count) {
  const std::vector<Positive> earlier(positives_, positives_ + used);
  auto* list = buffers.at_least<Positive>(positives_buffer, std::max<int64_t>(count, 1));
  if (list != positives_) std::copy(earlier.begin(), earlier.end(), list);
  positives_ = list;
}

bool KeptBatches::wanted(int64_t step) const {
  if (rewiring_.method != RewiringMethod::rigl) return false;
  for (int64_t ahead = 0; ahead < rewiring_.grow_batches; ++ahead)
    if (rewiring_.due(step + ahead)) return true;
  return false;
}

void KeptBatches::reserve(Buffers& buffers, int64_t step, const std::vector<SegmentPositives>& positives) {
  if (!wanted(step)) return;
  const int64_t used = used_positives();
  grow(buffers, used, used + total(positives));
}

void KeptBatches::keep(int64_t step, const float* inputs, int64_t batch, int64_t ldx,
                       const std::vector<SegmentPositives>& positives, const std::vector<SegmentShape>& segments,
                       const uint32_t* label_order) {
  if (!wanted(step)) return;
  const int64_t used = used_positives(), count = total(positives);
  Positive* place = positives_ + used;
  for (size_t s = 0; s < positives.size(); ++s)
    for (int64_t i = 0; i < positives[s].count; ++i)
      *place++ = {label_order[segments[s].first_row + positives[s].data[i].row], positives[s].data[i].column};
  entries_.push_back({batch, used, count});
  float* copy = inputs_of(entries_.size() - 1);
  for (int64_t h = 0; h < features_; ++h) {
    std::copy_n(inputs + h * ldx, batch, copy + h * ldx_);
    std::fill(copy + h * ldx_ + batch, copy + (h + 1) * ldx_, 0.0f);
  }
}

std::vector<std::vector<kernels::KeptBatch>> KeptBatches::sorted(Buffers& buffers, const uint32_t* label_rows,
                                                                 const std::vector<SegmentShape>& segments) {
  std::vector<std::vector<kernels::KeptBatch>> batches(segments.size());
  for (size_t i = 0; i < entries_.size(); ++i) {
    const Entry& entry = entries_[i];
    auto* spare = buffers.at_least<Positive>("batch.positives", std::max<int64_t>(entry.num_positives, 1));
    Positive* list = positives(i);
    for (int64_t n = 0; n < entry.num_positives; ++n) list[n].row = label_rows[list[n].row];
    const auto lists = split_positives(list, spare, entry.num_positives, segments);
    for (size_t s = 0; s < segments.size(); ++s)
      batches[s].push_back({inputs_of(i), lists[s].data, lists[s].count, entry.batch});
  }
  return batches;
}

std::vector<KeptBatchSize> KeptBatches::sizes() const {
  std::vector<KeptBatchSize> list;
  for (const Entry& entry : entries_) list.push_back({entry.batch, entry.num_positives});
  return list;
}

void KeptBatches::restore(Buffers& buffers, const std::vector<KeptBatchSize>& sizes) {
  entries_.clear();
  int64_t used = 0;
  for (const KeptBatchSize& size : sizes) {
    entries_.push_back({size.batch, used, size.positives});
    used += size.positives;
  }
  if (entries_.empty()) return;
  grow(buffers, 0, used);
  std::fill_n(positives_, used, Positive{0, 0});
}

void KeptBatches::read_inputs(size_t i, float* out) const {
  for (int64_t h = 0; h < features_; ++h)
    std::copy_n(inputs_of(i) + h * ldx_, entries_[i].batch, out + h * entries_[i].batch);
}

void KeptBatches::write_inputs(size_t i, const float* in) {
  for (int64_t h = 0; h < features_; ++h) {
    float* row = inputs_of(i) + h * ldx_;
    std::copy_n(in + h * entries_[i].batch, entries_[i].batch, row);
    std::fill(row + entries_[i].batch, row + ldx_, 0.0f);
  }
}

}  // namespace sparsexmc

#include "layers/kept_batches.h"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>

#include "device/bfloat16.h"
#include "device/device_pieces.h"

namespace sparsexmc {

using kernels::Positive;

namespace {

int64_t total(const std::vector<SegmentPositives>& positives) {
  int64_t count = 0;
  for (const SegmentPositives& p : positives) count += p.count;
  return count;
}

int64_t leading_dimension(Device device, int64_t batch) {
  return visit_device(device, [&](auto tag) { return kernels::leading_dimension(tag, batch); });
}

}  // namespace

std::vector<KeptTensors> kept_tensors(const ClassifierConfig& config, const std::vector<KeptBatchSize>& sizes) {
  std::vector<KeptTensors> list;
  for (const KeptBatchSize& size : sizes) {
    const std::string name = "optimizer.kept." + std::to_string(list.size());
    TensorSpec inputs{name + ".inputs", DType::float32, {config.layer_features(), size.batch}};
    TensorSpec positives{name + ".positives", DType::uint32, {size.positives, 2}, Layout::host_table};
    inputs.predicts = positives.predicts = false;
    list.push_back({std::move(inputs), std::move(positives), std::nullopt});
    if (!size.weighted) continue;
    list.back().instance_weights = TensorSpec{name + ".instance_weights", DType::float32, {size.batch}};
    list.back().instance_weights->predicts = false;
  }
  return list;
}

KeptBatches::KeptBatches(const ClassifierConfig& config, Context& context, Buffers& buffers, DType stored)
    : context_(context),
      buffers_(buffers),
      rewiring_(config.rewiring),
      stored_(stored),
      features_(config.layer_features()),
      largest_ldx_(leading_dimension(context.device(), config.batch_size)),
      slot_bytes_(features_ * largest_ldx_ * static_cast<int64_t>(dtype_size(stored))),
      inputs_(nullptr),
      weights_(nullptr),
      positives_(nullptr) {
  if (!rewiring_ || rewiring_->kept_batches() == 0) return;
  inputs_ = buffers.get<char>(kept_inputs_name);
  weights_ = buffers.get<float>(kept_weights_name);
  positives_ = buffers.host_table<Positive>(kept_positives_name);
}

bool KeptBatches::wanted(int64_t step, int64_t total_steps) const {
  if (!rewiring_) return false;
  const Rewiring rewiring = rewiring_->for_total_steps(total_steps);
  for (int64_t ahead = 0; ahead < rewiring.kept_batches(); ++ahead)
    if (rewiring.due(step + ahead)) return true;
  return false;
}

void* KeptBatches::inputs_of(size_t i) const { return inputs_ + static_cast<int64_t>(i) * slot_bytes_; }

void KeptBatches::grow(int64_t used, int64_t count) {
  count = std::max<int64_t>(count, 1);
  if (context_.device().kind != DeviceKind::cpu)
    buffers_.at_least<Positive>(kept_positives_name, count);  // where sorted() will copy them
  const std::vector<Positive> earlier(positives_, positives_ + used);
  auto* list = buffers_.host_table_at_least<Positive>(kept_positives_name, count);
  if (list != positives_) std::copy(earlier.begin(), earlier.end(), list);
  positives_ = list;
}

void KeptBatches::reserve(const std::vector<SegmentPositives>& positives) {
  const int64_t used = used_positives();
  grow(used, used + total(positives));
}

void KeptBatches::keep(const void* inputs, const BatchSizes& sizes, const std::vector<SegmentPositives>& positives,
                       const float* instance_weights, const std::vector<SegmentShape>& segments,
                       const LabelOrder& labels) {
  if (static_cast<int64_t>(entries_.size()) >= rewiring_->kept_batches())
    throw std::logic_error("more batches are kept for a rewiring than the plan has room for");
  const int64_t used = used_positives();
  Positive* place = positives_ + used;
  for (size_t s = 0; s < positives.size(); ++s)
    for (int64_t i = 0; i < positives[s].count; ++i)
      *place++ = {labels.ids()[segments[s].first_row + positives[s].host[i].row], positives[s].host[i].column};
  const size_t i = entries_.size();
  const bool weighted = instance_weights != nullptr;
  entries_.push_back({sizes.batch, sizes.ldx, used, total(positives), weighted});
  visit_device(context_.device(), [&](auto tag) {
    kernels::copy_on_device(tag, context_, inputs_of(i), inputs,
                            static_cast<size_t>(features_ * row_bytes(entries_[i])));
    if (weighted)
      kernels::copy_on_device(tag, context_, weights_of(i), instance_weights,
                              static_cast<size_t>(sizes.ldx) * sizeof(float));
  });
}

std::vector<std::vector<kernels::KeptBatch>> KeptBatches::sorted(const LabelOrder& labels,
                                                                 const std::vector<SegmentShape>& segments) {
  std::vector<std::vector<SegmentPositives>> lists;
  for (size_t i = 0; i < entries_.size(); ++i) {
    const int64_t count = entries_[i].num_positives;
    auto* spare = buffers_.host<Positive>("batch.positives", std::max<int64_t>(count, 1));
    for (int64_t n = 0; n < count; ++n) positives(i)[n].row = labels.rows()[positives(i)[n].row];
    lists.push_back(split_positives(positives(i), spare, count, segments));
  }
  const Positive* uploaded = positives_;
  if (context_.device().kind != DeviceKind::cpu)
    uploaded = visit_device(context_.device(), [&](auto tag) {
      const int64_t count = used_positives();
      auto* place = buffers_.at_least<Positive>(kept_positives_name, count);
      kernels::write_device(tag, context_, place, positives_, static_cast<size_t>(count) * sizeof(Positive));
      return place;
    });
  std::vector<std::vector<kernels::KeptBatch>> batches(segments.size());
  for (size_t i = 0; i < entries_.size(); ++i)
    for (size_t s = 0; s < segments.size(); ++s)
      batches[s].push_back({inputs_of(i), uploaded + (lists[i][s].host - positives_), lists[i][s].count,
                            entries_[i].batch, entries_[i].ldx, entries_[i].weighted ? weights_of(i) : nullptr});
  return batches;
}

std::vector<KeptBatchSize> KeptBatches::sizes() const {
  std::vector<KeptBatchSize> list;
  for (const Entry& entry : entries_) list.push_back({entry.batch, entry.num_positives, entry.weighted});
  return list;
}

void KeptBatches::restore(const std::vector<KeptBatchSize>& sizes) {
  entries_.clear();
  int64_t used = 0;
  for (const KeptBatchSize& size : sizes) {
    entries_.push_back(
        {size.batch, leading_dimension(context_.device(), size.batch), used, size.positives, size.weighted});
    used += size.positives;
  }
  if (entries_.empty()) return;
  grow(0, used);
  std::fill_n(positives_, used, Positive{0, 0});
}

void KeptBatches::read_inputs(size_t i, float* out) const {
  const int64_t batch = entries_[i].batch, ldx = entries_[i].ldx;
  visit_stored(stored_, [&](auto zero) {
    using Stored = decltype(zero);
    const auto copy = [&](const void* piece, int64_t first, int64_t n) {
      const auto* rows = static_cast<const Stored*>(piece);
      for (int64_t h = 0; h < n; ++h)
        for (int64_t b = 0; b < batch; ++b) out[(first + h) * batch + b] = static_cast<float>(rows[h * ldx + b]);
    };
    read_in_pieces(context_, inputs_of(i), features_, row_bytes(entries_[i]), copy);
  });
}

void KeptBatches::read_weights(size_t i, float* out) const {
  visit_device(context_.device(), [&](auto tag) {
    kernels::read_device(tag, context_, out, weights_of(i), static_cast<size_t>(entries_[i].batch) * sizeof(float));
  });
}

void KeptBatches::write_weights(size_t i, const float* in) {
  std::vector<float> padded(static_cast<size_t>(entries_[i].ldx));
  std::copy_n(in, entries_[i].batch, padded.begin());
  visit_device(context_.device(), [&](auto tag) {
    kernels::write_device(tag, context_, weights_of(i), padded.data(), padded.size() * sizeof(float));
  });
}

void KeptBatches::write_inputs(size_t i, const float* in) {
  const int64_t batch = entries_[i].batch, ldx = entries_[i].ldx;
  visit_stored(stored_, [&](auto zero) {
    using Stored = decltype(zero);
    const auto copy = [&](void* piece, int64_t first, int64_t n) {
      auto* rows = static_cast<Stored*>(piece);
      for (int64_t h = 0; h < n; ++h)
        for (int64_t b = 0; b < ldx; ++b) rows[h * ldx + b] = Stored(b < batch ? in[(first + h) * batch + b] : 0.0f);
    };
    write_in_pieces(context_, inputs_of(i), features_, row_bytes(entries_[i]), copy);
  });
}

}  // namespace sparsexmc

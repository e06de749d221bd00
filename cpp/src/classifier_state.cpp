// The tensors of a classifier under the names of the checkpoint: row-major and without padding, whatever lies in
// memory.
#include <algorithm>
#include <cstring>
#include <optional>

#include "classifier_impl.h"
#include "sparsexmc/error.h"

namespace sparsexmc {

namespace {

/// A tensor's place in memory and how it is laid out there.
struct Stored {
  NamedTensor tensor;
  void* data;
  enum class Layout { plain, grouped, order, kept_inputs, kept_positives } layout;
  const SegmentShape* segment;  // grouped weights, indices and biases
  size_t kept = 0;              // number of the kept batch
};

std::vector<Stored> stored_tensors(const Buffers& buffers, const ClassifierConfig& config,
                                   const std::vector<SegmentShape>& shapes, const KeptBatches& kept) {
  std::vector<Stored> list;
  const std::vector<std::string> slots = state_slots(config.optimizer);
  const auto add = [&](const std::string& name, DType dtype, std::vector<int64_t> shape, Stored::Layout layout,
                       const SegmentShape* segment) {
    list.push_back({{name, dtype, std::move(shape)}, buffers.get<void>(name), layout, segment});
  };
  const auto add_trained = [&](const std::string& name, const std::vector<int64_t>& shape, Stored::Layout layout,
                               const SegmentShape* segment) {
    add(name, DType::float32, shape, layout, segment);
    for (const std::string& slot : slots) add("optimizer." + name + "." + slot, DType::float32, shape, layout, segment);
  };
  for (const SegmentShape& s : shapes) {
    add_trained(s.name + ".weights", {s.rows, s.fan_in}, Stored::Layout::grouped, &s);
    if (!s.dense)
      add(s.name + ".indices", s.wide_indices ? DType::uint32 : DType::uint16, {s.groups, s.fan_in},
          Stored::Layout::plain, &s);
    add_trained(s.name + ".bias", {s.rows}, Stored::Layout::plain, &s);
  }
  if (config.hidden) {
    add_trained("hidden.weight", {config.in_features, config.hidden->features}, Stored::Layout::plain, nullptr);
    add_trained("hidden.bias", {config.hidden->features}, Stored::Layout::plain, nullptr);
  }
  add("label_order", DType::int64, {config.num_labels}, Stored::Layout::order, nullptr);
  const std::vector<KeptBatchSize> sizes = kept.sizes();
  for (size_t i = 0; i < sizes.size(); ++i) {
    const std::string name = "optimizer.kept." + std::to_string(i);
    list.push_back({{name + ".inputs", DType::float32, {config.layer_features(), sizes[i].batch}},
                    nullptr,
                    Stored::Layout::kept_inputs,
                    nullptr,
                    i});
    list.push_back({{name + ".positives", DType::uint32, {sizes[i].positives, 2}},
                    kept.positives(i),
                    Stored::Layout::kept_positives,
                    nullptr,
                    i});
  }
  return list;
}

Stored find(const Buffers& buffers, const ClassifierConfig& config, const std::vector<SegmentShape>& shapes,
            const KeptBatches& kept, const std::string& name) {
  for (Stored& s : stored_tensors(buffers, config, shapes, kept))
    if (s.tensor.name == name) return s;
  throw ArgumentError("tensor \"" + name + "\": this model has none of that name; tensors() lists them");
}

/// [rows, fan_in] <- [groups, fan_in, group_size], or back.
template <bool to_rows>
void regroup(float* rows_data, float* grouped, const SegmentShape& s) {
  for (int64_t row = 0; row < s.rows; ++row) {
    float* group = grouped + row / s.group_size * s.fan_in * s.group_size + row % s.group_size;
    float* line = rows_data + row * s.fan_in;
    for (int64_t f = 0; f < s.fan_in; ++f) {
      if constexpr (to_rows)
        line[f] = group[f * s.group_size];
      else
        group[f * s.group_size] = line[f];
    }
  }
}

template <class Index>
void check_indices(const Index* indices, const SegmentShape& s) {
  for (int64_t group = 0; group < s.groups; ++group)
    for (int64_t f = 0; f < s.fan_in; ++f) {
      const int64_t i = group * s.fan_in + f;
      if (static_cast<int64_t>(indices[i]) >= s.in_features || (f > 0 && indices[i] <= indices[i - 1]))
        throw ArgumentError(s.name + ".indices: " + std::to_string(indices[i]) + " at [" + std::to_string(group) +
                            ", " + std::to_string(f) + "]; rows must rise strictly and stay below " +
                            std::to_string(s.in_features));
    }
}

void check_kept(const kernels::Positive* positives, int64_t count, const ClassifierConfig& config) {
  for (int64_t i = 0; i < count; ++i)
    if (positives[i].row >= config.num_labels || positives[i].column >= config.batch_size)
      throw ArgumentError("kept positives: (" + std::to_string(positives[i].row) + ", " +
                          std::to_string(positives[i].column) + ") lies outside num_labels or batch_size");
}

}  // namespace

size_t NamedTensor::bytes() const {
  size_t count = 1;
  for (const int64_t n : shape) count *= static_cast<size_t>(n);
  return count * dtype_size(dtype);
}

std::vector<NamedTensor> Classifier::tensors() const {
  std::vector<NamedTensor> list;
  for (Stored& s : stored_tensors(impl_->buffers, impl_->config, impl_->output.shapes(), impl_->kept))
    list.push_back(std::move(s.tensor));
  return list;
}

void Classifier::read(const std::string& name, void* out) const {
  const Stored s = find(impl_->buffers, impl_->config, impl_->output.shapes(), impl_->kept, name);
  switch (s.layout) {
    case Stored::Layout::plain:
      std::memcpy(out, s.data, s.tensor.bytes());
      break;
    case Stored::Layout::grouped:
      regroup<true>(static_cast<float*>(out), static_cast<float*>(s.data), *s.segment);
      break;
    case Stored::Layout::order:
      std::copy_n(impl_->label_order, impl_->config.num_labels, static_cast<int64_t*>(out));
      break;
    case Stored::Layout::kept_inputs:
      impl_->kept.read_inputs(s.kept, static_cast<float*>(out));
      break;
    case Stored::Layout::kept_positives:
      std::memcpy(out, s.data, s.tensor.bytes());
      break;
  }
}

void Classifier::write(const std::string& name, const void* data) {
  const Stored s = find(impl_->buffers, impl_->config, impl_->output.shapes(), impl_->kept, name);
  switch (s.layout) {
    case Stored::Layout::plain:
      if (s.tensor.dtype == DType::uint16) check_indices(static_cast<const uint16_t*>(data), *s.segment);
      if (s.tensor.dtype == DType::uint32) check_indices(static_cast<const uint32_t*>(data), *s.segment);
      std::memcpy(s.data, data, s.tensor.bytes());
      break;
    case Stored::Layout::grouped:
      regroup<false>(static_cast<float*>(const_cast<void*>(data)), static_cast<float*>(s.data), *s.segment);
      break;
    case Stored::Layout::order:
      impl_->set_label_order(static_cast<const int64_t*>(data));
      break;
    case Stored::Layout::kept_inputs:
      impl_->kept.write_inputs(s.kept, static_cast<const float*>(data));
      break;
    case Stored::Layout::kept_positives:
      check_kept(static_cast<const kernels::Positive*>(data), s.tensor.shape[0], impl_->config);
      std::memcpy(s.data, data, s.tensor.bytes());
      break;
  }
}

}  // namespace sparsexmc

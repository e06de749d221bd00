// The tensors of a classifier under the names of the checkpoint: row-major and without padding, whatever lies in
// memory.
#include <algorithm>
#include <cstring>
#include <optional>

#include "device/bfloat16.h"
#include "device/device_pieces.h"
#include "model/classifier_impl.h"
#include "sparsexmc/error.h"

namespace sparsexmc {

namespace {

/// A tensor's place in memory and how it is laid out there.
struct Stored {
  NamedTensor tensor;
  void* data;
  enum class Layout { plain, grouped, order, table, kept_inputs, kept_positives } layout;
  const SegmentShape* segment;  // grouped weights, indices and biases
  size_t kept = 0;              // number of the kept batch
  uint32_t most = 0;            // of a table: the largest number allowed
};

/// Where the tensors of a model are found.
struct Sources {
  const Buffers& buffers;
  const ClassifierConfig& config;
  const std::vector<SegmentShape>& shapes;
  const std::optional<SegmentShape> auxiliary;
  const KeptBatches& kept;
  uint32_t *counts, *clusters;  // tables by user label id, or null
};

template <class Impl>
Sources sources(Impl& m) {
  return {m.buffers,
          m.config,
          m.output.shapes(),
          auxiliary_shape(m.config),
          m.kept,
          m.counts ? m.counts->data() : nullptr,
          m.clusters ? m.clusters->table().data() : nullptr};
}

/// They point into `from`.
std::vector<Stored> stored_tensors(const Sources& from) {
  const auto& [buffers, config, shapes, auxiliary, kept, counts, clusters] = from;
  std::vector<Stored> list;
  const std::vector<std::string> slots = state_slots(config.optimizer);
  const auto add = [&](const std::string& name, DType dtype, std::vector<int64_t> shape, Stored::Layout layout,
                       const SegmentShape* segment) {
    list.push_back({{name, dtype, std::move(shape)}, buffers.get<void>(name), layout, segment});
  };
  const auto add_trained = [&](const std::string& name, DType dtype, const std::vector<int64_t>& shape,
                               Stored::Layout layout, const SegmentShape* segment) {
    add(name, dtype, shape, layout, segment);
    for (const std::string& slot : slots) add("optimizer." + name + "." + slot, DType::float32, shape, layout, segment);
  };
  for (const SegmentShape& s : shapes) {
    add_trained(s.name + ".weights", config.weight_dtype, {s.rows, s.fan_in}, Stored::Layout::grouped, &s);
    if (!s.dense)
      add(s.name + ".indices", s.wide_indices ? DType::uint32 : DType::uint16, {s.groups, s.fan_in},
          Stored::Layout::plain, &s);
    add_trained(s.name + ".bias", DType::float32, {s.rows}, Stored::Layout::plain, &s);
    if (config.positive_weights != PositiveWeights::none)
      add(s.name + ".positive_weights", DType::float32, {s.rows}, Stored::Layout::plain, &s);
  }
  if (config.hidden) {
    add_trained("hidden.weight", DType::float32, {config.in_features, config.hidden->features}, Stored::Layout::plain,
                nullptr);
    add_trained("hidden.bias", DType::float32, {config.hidden->features}, Stored::Layout::plain, nullptr);
  }
  const auto add_table = [&](const std::string& name, uint32_t* data, int64_t most) {
    list.push_back({{name, DType::uint32, {config.num_labels}},
                    data,
                    Stored::Layout::table,
                    nullptr,
                    0,
                    static_cast<uint32_t>(most)});
  };
  if (auxiliary) {
    const SegmentShape& s = *auxiliary;
    add_trained("auxiliary.weights", config.weight_dtype, {s.rows, s.fan_in}, Stored::Layout::grouped, &s);
    add_trained("auxiliary.bias", DType::float32, {s.rows}, Stored::Layout::plain, &s);
    add_table("auxiliary.clusters", clusters, s.rows - 1);
  }
  add("label_order", DType::int64, {config.num_labels}, Stored::Layout::order, nullptr);
  if (counts != nullptr) add_table("label_counts", counts, config.num_instances);
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

Stored find(const Sources& from, const std::string& name) {
  for (Stored& s : stored_tensors(from))
    if (s.tensor.name == name) return s;
  throw ArgumentError("tensor \"" + name + "\": this model has none of that name; tensors() lists them");
}

/// [rows, fan_in] of the groups from `first` on <- [groups, fan_in, group_size], or back.
template <bool to_rows, class Rows, class Grouped>
void regroup(Rows* rows, Grouped* grouped, const SegmentShape& s, int64_t first, int64_t groups) {
  const int64_t last_row = std::min((first + groups) * s.group_size, s.rows);
  for (int64_t row = first * s.group_size; row < last_row; ++row) {
    Grouped* group = grouped + (row / s.group_size - first) * s.fan_in * s.group_size + row % s.group_size;
    Rows* line = rows + row * s.fan_in;
    for (int64_t f = 0; f < s.fan_in; ++f) {
      if constexpr (to_rows)
        line[f] = Rows(group[f * s.group_size]);
      else
        group[f * s.group_size] = Grouped(line[f]);
    }
  }
}

void read_grouped(Context& context, const Stored& s, void* out, DType out_dtype) {
  const SegmentShape& shape = *s.segment;
  visit_stored(s.tensor.dtype, [&](auto stored) {
    visit_stored(out_dtype, [&](auto wanted) {
      using Grouped = decltype(stored);
      using Rows = decltype(wanted);
      const int64_t group_bytes = shape.fan_in * shape.group_size * static_cast<int64_t>(sizeof(Grouped));
      read_in_pieces(context, s.data, shape.groups, group_bytes, [&](const void* piece, int64_t first, int64_t groups) {
        regroup<true>(static_cast<Rows*>(out), static_cast<const Grouped*>(piece), shape, first, groups);
      });
    });
  });
}

void write_grouped(Context& context, const Stored& s, const void* data, DType data_dtype) {
  const SegmentShape& shape = *s.segment;
  visit_stored(s.tensor.dtype, [&](auto stored) {
    visit_stored(data_dtype, [&](auto given) {
      using Grouped = decltype(stored);
      using Rows = decltype(given);
      const int64_t group_bytes = shape.fan_in * shape.group_size * static_cast<int64_t>(sizeof(Grouped));
      write_in_pieces(context, s.data, shape.groups, group_bytes, [&](void* piece, int64_t first, int64_t groups) {
        regroup<false>(static_cast<const Rows*>(data), static_cast<Grouped*>(piece), shape, first, groups);
      });
    });
  });
}

/// dtype of the user's array.
DType host_dtype(const Stored& s, std::optional<DType> wanted) {
  const DType dtype = wanted.value_or(s.tensor.dtype);
  const bool converts = s.layout == Stored::Layout::grouped && (dtype == DType::float32 || dtype == DType::bfloat16);
  if (dtype == s.tensor.dtype || converts) return dtype;
  throw ArgumentError("tensor \"" + s.tensor.name + "\" is " + dtype_name(s.tensor.dtype) + ", the array " +
                      dtype_name(dtype) + "; use the tensor's own dtype");
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

void check_table(const uint32_t* numbers, const Stored& s) {
  for (int64_t label = 0; label < s.tensor.shape[0]; ++label)
    if (numbers[label] > s.most)
      throw ArgumentError(s.tensor.name + ": " + std::to_string(numbers[label]) + " for label " +
                          std::to_string(label) + "; numbers must lie in 0.." + std::to_string(s.most));
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
  return impl_->run([&] {
    impl_->settle(true);
    std::vector<NamedTensor> list;
    for (Stored& s : stored_tensors(sources(*impl_))) list.push_back(std::move(s.tensor));
    return list;
  });
}

void Classifier::read(const std::string& name, void* out, std::optional<DType> dtype) const {
  Impl& m = *impl_;
  m.run([&] {
    m.settle(true);
    const Sources from = sources(m);
    const Stored s = find(from, name);
    const DType out_dtype = host_dtype(s, dtype);
    switch (s.layout) {
      case Stored::Layout::plain:
        visit_device(m.context->device(),
                     [&](auto tag) { kernels::read_device(tag, *m.context, out, s.data, s.tensor.bytes()); });
        break;
      case Stored::Layout::grouped:
        read_grouped(*m.context, s, out, out_dtype);
        break;
      case Stored::Layout::order:
        std::copy_n(m.labels.ids(), m.config.num_labels, static_cast<int64_t*>(out));
        break;
      case Stored::Layout::kept_inputs:
        m.kept.read_inputs(s.kept, static_cast<float*>(out));
        break;
      case Stored::Layout::table:
      case Stored::Layout::kept_positives:
        std::memcpy(out, s.data, s.tensor.bytes());
        break;
    }
  });
}

void Classifier::write(const std::string& name, const void* data, std::optional<DType> dtype) {
  Impl& m = *impl_;
  m.run([&] {
    m.settle(true);
    const Sources from = sources(m);
    const Stored s = find(from, name);
    const DType data_dtype = host_dtype(s, dtype);
    switch (s.layout) {
      case Stored::Layout::plain:
        if (s.tensor.dtype == DType::uint16) check_indices(static_cast<const uint16_t*>(data), *s.segment);
        if (s.tensor.dtype == DType::uint32) check_indices(static_cast<const uint32_t*>(data), *s.segment);
        visit_device(m.context->device(),
                     [&](auto tag) { kernels::write_device(tag, *m.context, s.data, data, s.tensor.bytes()); });
        break;
      case Stored::Layout::grouped:
        write_grouped(*m.context, s, data, data_dtype);
        break;
      case Stored::Layout::order:
        m.labels.set(static_cast<const int64_t*>(data));
        break;
      case Stored::Layout::table:
        check_table(static_cast<const uint32_t*>(data), s);
        std::memcpy(s.data, data, s.tensor.bytes());
        break;
      case Stored::Layout::kept_inputs:
        m.kept.write_inputs(s.kept, static_cast<const float*>(data));
        break;
      case Stored::Layout::kept_positives:
        check_kept(static_cast<const kernels::Positive*>(data), s.tensor.shape[0], m.config);
        std::memcpy(s.data, data, s.tensor.bytes());
        break;
    }
  });
}

}  // namespace sparsexmc

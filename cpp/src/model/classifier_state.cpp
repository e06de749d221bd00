// The tensors of a classifier under the names of the checkpoint.
#include <cstring>
#include <string>
#include <vector>

#include "layers/tensor_io.h"
#include "model/arguments.h"
#include "model/classifier_impl.h"
#include "model/inventory.h"

namespace sparsexmc {
namespace {

/// A tensor of the layers, or of a kept batch.
struct Found {
  ShownTensor tensor;
  enum class Kind { of_layers, kept_inputs, kept_positives, kept_weights } kind = Kind::of_layers;
  size_t kept = 0;  // number of the batch
};

std::vector<Found> list_tensors(const Model& model, const std::optional<Trainer>& trainer) {
  std::vector<Found> list;
  for (const ShownTensor& tensor : shown(model.tensors, model.progress.average_in_use)) list.push_back({tensor});
  if (!trainer) return list;
  size_t number = 0;
  for (const KeptTensors& batch : kept_tensors(model.config, trainer->kept().sizes())) {
    const auto add = [&](const TensorSpec& spec, Found::Kind kind) {
      list.push_back({{spec.name, spec}, kind, number});
    };
    add(batch.inputs, Found::Kind::kept_inputs);
    add(batch.positives, Found::Kind::kept_positives);
    if (batch.instance_weights) add(*batch.instance_weights, Found::Kind::kept_weights);
    ++number;
  }
  return list;
}

Found find_tensor(const Model& model, const std::optional<Trainer>& trainer, const std::string& name) {
  for (const Found& found : list_tensors(model, trainer))
    if (found.tensor.name == name) return found;
  throw ArgumentError("tensor \"" + name + "\": this model has none of that name; tensors() lists them");
}

void check_kept(const kernels::Positive* positives, int64_t count, const ClassifierConfig& config) {
  for (int64_t i = 0; i < count; ++i)
    if (positives[i].row >= config.num_labels || positives[i].column >= config.batch_size)
      throw ArgumentError("kept positives: (" + std::to_string(positives[i].row) + ", " +
                          std::to_string(positives[i].column) + ") lies outside num_labels or batch_size");
}

}  // namespace

std::vector<NamedTensor> Classifier::tensors() const {
  return impl_->run_settled([&] {
    std::vector<NamedTensor> list;
    for (const Found& found : list_tensors(impl_->model, impl_->trainer)) list.push_back(named(found.tensor));
    return list;
  });
}

void Classifier::read(const std::string& name, void* out, std::optional<DType> dtype) const {
  Impl& m = *impl_;
  m.run_settled([&] {
    const Found found = find_tensor(m.model, m.trainer, name);
    const DType wanted = dtype.value_or(found.tensor.spec.dtype);
    check_host_dtype(found.tensor.spec, wanted);
    switch (found.kind) {
      case Found::Kind::of_layers:
        return read_tensor(*m.model.context, m.model.buffers, found.tensor.spec, out, wanted);
      case Found::Kind::kept_inputs:
        return m.trainer->kept().read_inputs(found.kept, static_cast<float*>(out));
      case Found::Kind::kept_positives:
        std::memcpy(out, m.trainer->kept().positives(found.kept), named(found.tensor.spec).bytes());
        return;
      case Found::Kind::kept_weights:
        return m.trainer->kept().read_weights(found.kept, static_cast<float*>(out));
    }
  });
}

void Classifier::write(const std::string& name, const void* data, std::optional<DType> dtype) {
  Impl& m = *impl_;
  m.run_settled([&] {
    const Found found = find_tensor(m.model, m.trainer, name);
    const DType given = dtype.value_or(found.tensor.spec.dtype);
    check_host_dtype(found.tensor.spec, given);
    switch (found.kind) {
      case Found::Kind::of_layers:
        if (found.tensor.spec.layout == Layout::order)
          return m.model.output->labels().set(static_cast<const int64_t*>(data));
        return write_tensor(*m.model.context, m.model.buffers, found.tensor.spec, data, given);
      case Found::Kind::kept_inputs:
        return m.trainer->kept().write_inputs(found.kept, static_cast<const float*>(data));
      case Found::Kind::kept_positives:
        check_kept(static_cast<const kernels::Positive*>(data), found.tensor.spec.lines(), m.model.config);
        std::memcpy(m.trainer->kept().positives(found.kept), data, named(found.tensor.spec).bytes());
        return;
      case Found::Kind::kept_weights:
        check_instance_weights(static_cast<const float*>(data), found.tensor.spec.lines());
        return m.trainer->kept().write_weights(found.kept, static_cast<const float*>(data));
    }
  });
}

}  // namespace sparsexmc

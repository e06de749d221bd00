#include "model/inventory.h"

#include "layers/hidden_layer.h"
#include "layers/kept_batches.h"
#include "layers/label_clusters.h"
#include "layers/label_order.h"
#include "layers/segment_tensors.h"

namespace sparsexmc {

TensorSpec label_counts_tensor(const ClassifierConfig& config) {
  TensorSpec spec{"label_counts", DType::uint32, {config.num_labels}, Layout::host_table};
  spec.below = config.num_instances + 1;
  return spec;
}

std::vector<TensorSpec> tensor_specs(const ClassifierConfig& config, bool trainable) {
  std::vector<TensorSpec> all = output_tensors(config);
  const auto add = [&](const std::vector<TensorSpec>& specs) { all.insert(all.end(), specs.begin(), specs.end()); };
  if (config.hidden) add(hidden_tensors(config).list());
  add(auxiliary_tensors(config));
  add({label_order_tensor(config)});
  if (config.num_instances > 0) add({label_counts_tensor(config)});
  return held(all, config, trainable);
}

NamedTensor named(const TensorSpec& spec) { return {spec.name, spec.dtype, spec.shape}; }
NamedTensor named(const ShownTensor& tensor) { return {tensor.name, tensor.spec.dtype, tensor.spec.shape}; }

std::vector<NamedTensor> checkpoint_tensors(const ClassifierConfig& config, const Progress& progress) {
  std::vector<NamedTensor> list;
  for (const ShownTensor& tensor : shown(tensor_specs(config, true), progress.average_in_use))
    list.push_back(named(tensor));
  for (const KeptTensors& batch : kept_tensors(config, progress.kept)) {
    list.push_back(named(batch.inputs));
    list.push_back(named(batch.positives));
    if (batch.instance_weights) list.push_back(named(*batch.instance_weights));
  }
  return list;
}

}  // namespace sparsexmc

// All tensors of a classifier, as its layers list them.
#pragma once

#include <vector>

#include "layers/tensor_spec.h"
#include "sparsexmc/classifier.h"

namespace sparsexmc {

/// The numbers of instances per label that a model keeps once they are known.
TensorSpec label_counts_tensor(const ClassifierConfig& config);

/// In the order of a checkpoint; without the kept batches, which come and go.
std::vector<TensorSpec> tensor_specs(const ClassifierConfig& config, bool trainable);

/// Name, dtype and shape.
NamedTensor named(const TensorSpec& spec);
NamedTensor named(const ShownTensor& tensor);

}  // namespace sparsexmc

#include "sparsexmc/classifier.h"

namespace sparsexmc {

size_t NamedTensor::bytes() const {
  size_t count = 1;
  for (const int64_t n : shape) count *= static_cast<size_t>(n);
  return count * dtype_size(dtype);
}

}  // namespace sparsexmc

// The running averages of the trained tensors, where they lie: kept up, emptied, and made the weights.
#pragma once

#include <vector>

#include "layers/buffers.h"
#include "layers/tensor_spec.h"

namespace sparsexmc {

class Averages {
 public:
  /// @param tensors held by the model, with a slot for the average of every trained one when anything is called
  Averages(Context& context, const Buffers& buffers, const std::vector<TensorSpec>& tensors)
      : context_(context), buffers_(buffers), tensors_(tensors) {}

  /// average += rate * (weights - average). @param skip null, or on the device: not 0 leaves the averages alone
  void update(float rate, const uint32_t* skip) const;
  /// Sets them to zero.
  void clear() const;
  /// Puts them in the place of the weights, rounded to nearest where these are bfloat16.
  void store() const;

 private:
  /// body(weights, their average, elements in memory) for every trained tensor.
  template <class Body>
  void for_each(Body&& body) const;

  Context& context_;
  const Buffers& buffers_;
  const std::vector<TensorSpec>& tensors_;
};

}  // namespace sparsexmc

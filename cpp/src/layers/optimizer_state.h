// Finding a tensor's optimizer state among the buffers.
#pragma once

#include "layers/buffers.h"
#include "layers/tensor_spec.h"

namespace sparsexmc {

/// state[i] = the i-th slot of a trained tensor, none beyond the optimizer's slots.
inline void find_state(const Buffers& buffers, const OptimizerConfig& optimizer, const TensorSpec& tensor,
                       StoredTensor (&state)[2]) {
  state[0] = state[1] = {};
  int i = 0;
  for (const std::string& slot : state_slots(optimizer)) {
    const TensorSpec spec = slot_of(tensor, slot);
    state[i].data = buffers.get<void>(spec.name);
    state[i++].dtype = spec.dtype;
  }
}

}  // namespace sparsexmc

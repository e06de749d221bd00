// Finding a tensor's optimizer state among the buffers.
#pragma once

#include "layers/buffers.h"
#include "layers/shapes.h"

namespace sparsexmc {

/// state[i] = the tensor's i-th slot, none beyond the optimizer's slots.
inline void find_state(const Buffers& buffers, const OptimizerConfig& optimizer, const std::string& tensor,
                       StoredTensor (&state)[2]) {
  state[0] = state[1] = {};
  int i = 0;
  for (const std::string& slot : state_slots(optimizer))
    state[i++].data = buffers.get<void>("optimizer." + tensor + "." + slot);
}

}  // namespace sparsexmc

// The operands that most kernels share: the rows of a segment, the positives of a batch, one optimizer update.
#pragma once

#include <cstdint>

#include "sparsexmc/config.h"
#include "stored_tensor.h"

namespace sparsexmc::kernels {

/// One optimizer update, with everything that depends on the step number worked out.
struct OptimizerStep {
  OptimizerKind kind = OptimizerKind::sgd;
  float lr = 0;
  float weight_decay = 0;
  float momentum = 0;                      // sgd
  float beta1 = 0, beta2 = 0, eps = 0;     // adam
  float correction1 = 1, correction2 = 1;  // adam: 1 / (1 - beta^t), 1 / sqrt(1 - beta2^t)
};

/// Parameters of a segment: groups of `group_size` rows that share `fan_in` input features.
struct Segment {
  StoredTensor weights;               // [groups, fan_in, group_size], fp32, or bf16 (CUDA), rounded stochastically
  float* bias = nullptr;              // [groups * group_size]
  bool dense = false;                 // feature f is input f; known before there is memory
  void* indices = nullptr;            // [groups, fan_in] ascending, unique; null if dense
  bool wide_indices = false;          // uint32 instead of uint16
  StoredTensor weight_state[2];       // fp32: momentum, or first and second moment; laid out as weights
  StoredTensor bias_state[2];         // fp32
  StoredTensor weight_average;        // fp32, of average_step(); only rewiring touches it here
  float* positive_weights = nullptr;  // [rows]: factor on the loss of a positive; null: 1
  int64_t rows = 0;                   // labels; rows [rows, groups * group_size) are padding
  int64_t groups = 0;
  int64_t group_size = 1;
  int64_t fan_in = 0;
  int64_t in_features = 0;  // H
};

/// One positive of the batch; lists are sorted by (row, column) and unique.
struct Positive {
  uint32_t row;     // internal row within its segment
  uint32_t column;  // instance
};

}  // namespace sparsexmc::kernels

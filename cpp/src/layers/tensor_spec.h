// The declaration of a layer's tensors, each once. The memory plan, state, checkpoints and regrouping read these lists.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sparsexmc/config.h"

namespace sparsexmc {

/// How a tensor lies in memory, where that differs from what its name stands for: row-major without padding.
enum class Layout {
  plain,      // the same; rows are padded to whole groups
  grouped,    // [groups, fan_in, group_size] for [rows, fan_in]
  order,      // uint32 for int64: the internal order of the labels, on the device and for the host
  host_table  // only the host reads it: in the pool on the CPU, beside the device's memory elsewhere
};

/// The role of a tensor in training.
enum class Role { constant, trained, optimizer_state };

/// The owner of a line of a tensor: regrouping moves lines of rows, and a shard holds those of its rows and groups.
enum class Per { nothing, row, group };

struct TensorSpec {
  std::string name;  // of the checkpoint, the plan and the memory block
  DType dtype;       // of the checkpoint, and in memory unless the layout says otherwise
  std::vector<int64_t> shape;
  Layout layout = Layout::plain;
  Role role = Role::constant;
  bool predicts = true;    // false: only training reads it
  int64_t group_size = 1;  // the first dimension is padded to a multiple of it in memory
  int segment = -1;        // of the output layer; -1: of none
  Per per = Per::nothing;  // row or group of that segment
  int64_t below = 0;       // whole numbers must lie in 0..below - 1; 0: not checked

  int64_t lines() const { return shape.front(); }
  /// Numbers in a line.
  int64_t width() const;
  /// Numbers in memory, and bytes of one.
  int64_t count_in_memory() const;
  int64_t element_in_memory() const;
};

/// Names of the optimizer's slots per tensor, e.g. {"exp_avg", "exp_avg_sq"}.
std::vector<std::string> state_slots(const OptimizerConfig& optimizer);

/// A slot of a trained tensor: "optimizer.<name>.<slot>", laid out as the tensor.
TensorSpec slot_of(const TensorSpec& tensor, const std::string& slot);

/// The slot of a trained tensor's running average, "optimizer.<name>.average", which is there if the classifier has a
/// WeightAverage.
TensorSpec average_of(const TensorSpec& tensor);

/// The tensors among `specs` that a classifier holds. Trainable: all, and after every trained tensor its optimizer
/// state and its average. Otherwise those that prediction reads.
std::vector<TensorSpec> held(const std::vector<TensorSpec>& specs, const ClassifierConfig& config, bool trainable);

/// A tensor under the name that state and checkpoints have for it. `spec` says where it lies, and how.
struct ShownTensor {
  std::string name;
  TensorSpec spec;
};

/// The tensors that held() gave, as state and checkpoints show them. While the averages are in use they stand under the
/// names of the weights, as float32, and "optimizer.<name>.trained" in place of an average holds the trained weights.
std::vector<ShownTensor> shown(const std::vector<TensorSpec>& held, bool averages_in_use);

}  // namespace sparsexmc

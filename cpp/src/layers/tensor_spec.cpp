#include "layers/tensor_spec.h"

#include "integers.h"

namespace sparsexmc {

int64_t TensorSpec::width() const {
  int64_t width = 1;
  for (size_t i = 1; i < shape.size(); ++i) width *= shape[i];
  return width;
}

int64_t TensorSpec::count_in_memory() const { return round_up(lines(), group_size) * width(); }

int64_t TensorSpec::element_in_memory() const {
  return static_cast<int64_t>(layout == Layout::order ? sizeof(uint32_t) : dtype_size(dtype));
}

TensorSpec slot_of(const TensorSpec& tensor, const std::string& slot) {
  TensorSpec state = tensor;
  state.name = "optimizer." + tensor.name + "." + slot;
  state.dtype = DType::float32;
  state.role = Role::optimizer_state;
  state.predicts = false;
  return state;
}

std::vector<std::string> state_slots(const OptimizerConfig& optimizer) {
  if (optimizer.kind == OptimizerKind::adam) return {"exp_avg", "exp_avg_sq"};
  if (optimizer.state_slots() == 1) return {"momentum"};
  return {};
}

TensorSpec average_of(const TensorSpec& tensor) { return slot_of(tensor, "average"); }

std::vector<TensorSpec> held(const std::vector<TensorSpec>& specs, const ClassifierConfig& config, bool trainable) {
  std::vector<TensorSpec> list;
  for (const TensorSpec& spec : specs) {
    if (!trainable && !spec.predicts) continue;
    list.push_back(spec);
    if (!trainable || spec.role != Role::trained) continue;
    for (const std::string& slot : state_slots(config.optimizer)) list.push_back(slot_of(spec, slot));
    if (config.average) list.push_back(average_of(spec));
  }
  return list;
}

std::vector<ShownTensor> shown(const std::vector<TensorSpec>& held, bool averages_in_use) {
  std::vector<ShownTensor> list;
  const TensorSpec* trained = nullptr;
  for (const TensorSpec& spec : held) {
    if (spec.role == Role::trained) trained = &spec;
    if (averages_in_use && spec.role == Role::trained) {
      list.push_back({spec.name, average_of(spec)});
      list.back().spec.role = Role::trained;
    } else if (averages_in_use && trained != nullptr && spec.name == average_of(*trained).name) {
      list.push_back({slot_of(*trained, "trained").name, *trained});
      list.back().spec.role = Role::optimizer_state;
    } else {
      list.push_back({spec.name, spec});
    }
  }
  return list;
}

}  // namespace sparsexmc

// The hidden layer run on one device or another, for tests that compare the results.
#pragma once

#include <memory>
#include <optional>

#include "orders.h"
#include "random_data.h"

using namespace sparsexmc;
using namespace sparsexmc::kernels;

struct Case {
  int64_t features, units, batch;
  float dropout;
  int slots;  // of optimizer state: 0 SGD, 1 momentum, 2 Adam
};
inline constexpr Case cases[] = {
    {1, 1, 1, 0.0f, 0},    {5, 3, 2, 0.5f, 1},     {64, 64, 64, 0.0f, 2},
    {70, 67, 65, 0.5f, 0}, {66, 36, 129, 0.5f, 2}, {33, 130, 31, 0.0f, 1},
};

inline OptimizerStep optimizer(int slots) {
  OptimizerStep o;
  o.kind = slots == 2 ? OptimizerKind::adam : OptimizerKind::sgd;
  o.lr = 0.125f;
  o.weight_decay = 0.25f;
  o.momentum = 0.5f;
  o.beta1 = 0.75f, o.beta2 = 0.875f, o.eps = 1e-3f;
  o.correction1 = 2.0f, o.correction2 = 1.5f;
  return o;
}

/// Weights and biases with their state.
struct Layer {
  explicit Layer(const Case& c) : weight(random_floats(c.features * c.units, 1)), bias(random_floats(c.units, 2)) {
    for (int i = 0; i < c.slots; ++i) {
      weight_state[i] = random_floats(c.features * c.units, 3 + static_cast<uint32_t>(i));
      bias_state[i] = random_floats(c.units, 5 + static_cast<uint32_t>(i));
      for (float& v : weight_state[i]) v = std::fabs(v);
      for (float& v : bias_state[i]) v = std::fabs(v);
    }
  }
  template <class Params>
  void give(Params& p) {
    p.weight = weight.data();
    p.bias = bias.data();
    for (int i = 0; i < 2; ++i) {
      p.weight_state[i].data = weight_state[i].empty() ? nullptr : weight_state[i].data();
      p.bias_state[i].data = bias_state[i].empty() ? nullptr : bias_state[i].data();
    }
  }
  void check(const Layer& expected) const {
    check_close(weight, expected.weight, 2e-5f);
    check_close(bias, expected.bias, 2e-5f);
    for (int i = 0; i < 2; ++i) {
      check_close(weight_state[i], expected.weight_state[i], 2e-5f);
      check_close(bias_state[i], expected.bias_state[i], 2e-5f);
    }
  }
  bool operator==(const Layer&) const = default;

  std::vector<float> weight, bias, weight_state[2], bias_state[2];
};

template <class Params>
void set_sizes(Params& p, const Case& c, int64_t ldx) {
  p.batch = c.batch;
  p.ldx = ldx;
  p.units = c.units;
  p.dropout = c.dropout;
}

/// Aligned memory for a kernel to work in; its size is exact, so that a sanitizer sees what goes past it.
class Scratch {
 public:
  explicit Scratch(int64_t bytes)
      : memory_(std::aligned_alloc(alignment, static_cast<size_t>(round_up(bytes, alignment)))) {}
  ~Scratch() { std::free(memory_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  void* data() { return memory_; }

 private:
  static constexpr int64_t alignment = 256;
  void* memory_;
};

template <class Device>
Machine machine_of() {
  return machine(Device{}, std::is_same_v<Device, Cuda> ? sparsexmc::Device{DeviceKind::cuda, 0} : sparsexmc::Device{},
                 2);
}

/// Rounding of the activations: fp32 sums in another order, and bf16 where they are stored so.
inline float activation_tolerance(DType compute) { return compute == DType::float32 ? 1e-5f : 1.0f / 256; }

template <class Device>
std::vector<float> forward(Context& context, const Case& c, DType compute) {
  const int64_t ldx = leading_dimension(Device{}, c.batch);
  Layer layer(c);
  Operand xt(compute, padded(random_floats(c.features * c.batch, 9), c.features, c.batch, ldx));
  Operand ht(compute, c.units * ldx);
  Scratch scratch(hidden_forward_scratch(Device{}, machine_of<Device>(), c.features, c.units, ldx, compute));
  HiddenForward p;
  p.ht = ht.data();
  p.scratch = scratch.data();
  p.weight = layer.weight.data();
  p.bias = layer.bias.data();
  p.xt = xt.data();
  p.compute = compute;
  p.features = c.features;
  p.seed = 11;
  p.step = 12;
  set_sizes(p, c, ldx);
  hidden_forward(Device{}, context, p);
  return ht.values();
}

struct Backward {
  Layer layer;
  std::vector<float> dht, dxt;
  bool operator==(const Backward&) const = default;
};

template <class Device>
Backward backward(Context& context, const Case& c, DType compute, bool with_dx = true, uint32_t skip = 0) {
  const int64_t ldx = leading_dimension(Device{}, c.batch);
  Backward r{Layer(c), padded(random_floats(c.units * c.batch, 8), c.units, c.batch, ldx),
             std::vector<float>(static_cast<size_t>(c.features * ldx), 7.0f)};
  Operand xt(compute, padded(random_floats(c.features * c.batch, 9), c.features, c.batch, ldx));
  Operand ht(compute, padded(random_floats(c.units * c.batch, 10), c.units, c.batch, ldx));
  Scratch scratch(hidden_backward_scratch(Device{}, machine_of<Device>(), c.features, c.units, ldx, compute));
  HiddenBackward p;
  r.layer.give(p);
  p.dxt = with_dx ? r.dxt.data() : nullptr;
  p.dht = r.dht.data();
  p.scratch = scratch.data();
  p.ht = ht.data();
  p.xt = xt.data();
  p.compute = compute;
  p.features = c.features;
  p.optimizer = optimizer(c.slots);
  p.skip = std::is_same_v<Device, Cuda> ? &skip : nullptr;
  set_sizes(p, c, ldx);
  hidden_backward(Device{}, context, p);
  return r;
}

/// check(case, compute) for all of them.
template <class Check>
void for_all_cases(Check check) {
  for (const Case& c : cases)
    for (const DType compute : {DType::float32, DType::bfloat16}) {
      CAPTURE(c.features);
      CAPTURE(c.units);
      CAPTURE(c.batch);
      CAPTURE(dtype_name(compute));
      check(c, compute);
    }
}

/// Runs `make` in all orders and wants the same bits from each.
template <class Make>
auto same_in_all_orders(Make make) {
  std::optional<decltype(make())> first;
  in_all_orders([&] {
    const auto result = make();
    if (!first) first = result;
    CHECK(result == *first);
  });
  return *first;
}

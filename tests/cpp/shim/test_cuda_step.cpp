// The fused step on the shim against the CPU backend: groups, single labels and dense segments, in clusters and
// without.
#include <cstdlib>
#include <string>

#include "orders.h"
#include "random_data.h"
#include "rng.h"

using namespace sparsexmc;
using namespace sparsexmc::kernels;

namespace {

struct Case {
  int64_t features, labels, fan_in, group_size, batch;
  Loss loss;
  int slots;  // 0 SGD, 1 momentum, 2 Adam
  bool wide, dense;
};
constexpr Case cases[] = {
    {31, 50, 5, 16, 3, Loss::bce, 0, false, false},
    {70, 67, 33, 16, 130, Loss::squared_hinge, 1, false, false},
    {130, 71, 100, 32, 65, Loss::bce, 2, true, false},
    {67, 70, 67, 32, 33, Loss::bce, 1, false, true},
    {40, 19, 7, 3, 64, Loss::squared_hinge, 2, false, false},
    {80, 130, 66, 64, 40, Loss::bce, 0, false, false},
    {150, 70, 40, 1, 70, Loss::bce, 2, false, false},
    {33, 5, 33, 1, 1, Loss::squared_hinge, 0, true, false},
};

OptimizerStep optimizer(int slots) {
  OptimizerStep o;
  o.kind = slots == 2 ? OptimizerKind::adam : OptimizerKind::sgd;
  o.lr = 0.125f;
  o.weight_decay = 0.25f;
  o.momentum = slots == 1 ? 0.5f : 0.0f;
  o.beta1 = 0.75f, o.beta2 = 0.875f, o.eps = 0.0625f;
  o.correction1 = 2.0f, o.correction2 = 1.5f;
  return o;
}

/// A segment with its own memory; padding rows are zero.
struct Model {
  explicit Model(const Case& c) {
    const int64_t groups = ceil_div(c.labels, c.group_size), count = groups * c.fan_in * c.group_size;
    weights = random_floats(count, 1);
    bias = random_floats(groups * c.group_size, 2);
    for (int64_t group = 0; group < groups; ++group)
      for (int64_t row = 0; row < c.group_size; ++row) {
        if (group * c.group_size + row < c.labels) continue;
        bias[group * c.group_size + row] = 0.0f;
        for (int64_t f = 0; f < c.fan_in; ++f) weights[(group * c.fan_in + f) * c.group_size + row] = 0.0f;
      }
    for (int i = 0; i < c.slots; ++i) {
      state[i].assign(weights.size(), 0.0f);
      bias_state[i].assign(bias.size(), 0.0f);
    }
    for (int64_t group = 0; group < groups; ++group) {  // selection sampling: fan_in of the features, ascending
      int64_t left = c.fan_in;
      for (int64_t f = 0; f < c.features; ++f)
        if (rng::below(rng::draw_one(7, rng::Purpose::indices, 0, group, f), c.features - f) < left) {
          narrow.push_back(static_cast<uint16_t>(f));
          wide.push_back(static_cast<uint32_t>(f));
          --left;
        }
    }
    segment.weights.data = weights.data();
    segment.bias = bias.data();
    segment.dense = c.dense;
    segment.indices = c.dense ? nullptr : c.wide ? static_cast<void*>(wide.data()) : narrow.data();
    segment.wide_indices = c.wide;
    for (int i = 0; i < c.slots; ++i) {
      segment.weight_state[i].data = state[i].data();
      segment.bias_state[i].data = bias_state[i].data();
    }
    segment.rows = c.labels;
    segment.groups = groups;
    segment.group_size = c.group_size;
    segment.fan_in = c.fan_in;
    segment.in_features = c.features;
  }
  Model(const Model&) = delete;

  void store_as_bfloat16() {
    for (float w : weights) halves.push_back(cuda::to_bfloat16(w));
    segment.weights = {halves.data(), DType::bfloat16};
  }
  std::vector<float> stored_weights() const {
    if (halves.empty()) return weights;
    std::vector<float> v;
    for (bfloat16 w : halves) v.push_back(cuda::to_float(w));
    return v;
  }

  std::vector<float> weights, bias, state[2], bias_state[2];
  std::vector<bfloat16> halves;
  std::vector<uint16_t> narrow;
  std::vector<uint32_t> wide;
  Segment segment;
};

struct Result {
  std::vector<float> dx;  // [features, batch]
  double loss;
};

template <class Device>
Result step(Context& context, const Case& c, Model& model, DType compute, const uint32_t* skip = nullptr) {
  const int64_t ldx = leading_dimension(Device{}, c.batch);
  const Machine here = machine(Device{}, context.device(), 2);
  const StepSizes sizes = step_sizes(Device{}, here, &model.segment, 1, c.batch, compute);
  Operand xt(compute, padded(random_floats(c.features * c.batch, 9), c.features, c.batch, ldx));
  std::vector<Positive> positives;
  for (int64_t row = 0; row < c.labels; ++row)
    for (int64_t b = 0; b < c.batch; ++b)
      if (rng::draw_one(3, rng::Purpose::shuffle, 0, row, b) % 11 == 0)
        positives.push_back({static_cast<uint32_t>(row), static_cast<uint32_t>(b)});
  std::vector<float> dx(sizes.dx_floats, NAN);
  std::vector<double> losses(sizes.losses, 0.0);
  std::vector<double> scratch(sizes.scratch_bytes / 8 + 1);
  FanInStep p;
  p.dx_parts = dx.data();
  p.loss_parts = losses.data();
  p.segment = model.segment;
  p.scratch = scratch.data();
  p.xt = xt.data();
  p.compute = compute;
  p.positives = positives.data();
  p.num_positives = static_cast<int64_t>(positives.size());
  p.batch = c.batch;
  p.ldx = ldx;
  p.parts = sizes.parts;
  p.loss = c.loss;
  p.optimizer = optimizer(c.slots);
  p.seed = 5, p.step = 17;
  p.skip = skip;
  fan_in_step(Device{}, context, p);
  Result result;
  ReduceParts r;
  r.dx_parts = dx.data();
  r.loss = &result.loss;
  r.loss_parts = losses.data();
  r.in_features = c.features;
  r.batch = c.batch;
  r.ldx = ldx;
  r.parts = sizes.parts;
  r.compute = compute;
  r.skip = skip;
  reduce_parts(Device{}, context, r);
  for (int64_t h = 0; h < c.features; ++h)
    result.dx.insert(result.dx.end(), dx.begin() + h * ldx, dx.begin() + h * ldx + c.batch);
  return result;
}

/// Largest difference as a share of the largest expected number.
double error(const std::vector<float>& actual, const std::vector<float>& expected) {
  REQUIRE(actual.size() == expected.size());
  double worst = 0.0, scale = 1e-30;
  for (size_t i = 0; i < actual.size(); ++i) {
    const double difference = std::fabs(actual[i] - expected[i]);
    if (!(difference <= worst)) worst = difference;  // NaN counts
    scale = std::fmax(scale, std::fabs(expected[i]));
  }
  return worst / scale;
}

void compare_with_cpu(const Case& c, DType compute, bool bfloat16_weights) {
  CAPTURE(c.labels);
  CAPTURE(c.group_size);
  CAPTURE(static_cast<int>(compute));
  CAPTURE(bfloat16_weights);
  Context cpu(Device{}, 2), cuda(Device{DeviceKind::cuda, 0}, 2);
  Model expected_model(c);
  const Result expected = step<Cpu>(cpu, c, expected_model, DType::float32);
  std::vector<float> first;
  in_all_orders([&] {
    Model model(c);
    if (bfloat16_weights) model.store_as_bfloat16();
    const Result result = step<Cuda>(cuda, c, model, compute);
    // The operands are exact in bf16, so that only D is rounded: 2^-9 of each term.
    const double tolerance = compute == DType::float32 ? 1e-5 : 4e-3;
    CHECK(std::fabs(result.loss - expected.loss) <= 1e-5 * std::fabs(expected.loss));
    CHECK(error(result.dx, expected.dx) <= tolerance);
    CHECK(error(model.bias, expected_model.bias) <= 1e-5);
    const std::vector<float> weights = model.stored_weights();
    // Adam with a large eps passes an error of the gradient on; bf16 weights are rounded to a neighbour.
    CHECK(error(weights, expected_model.weights) <= 4 * tolerance + (bfloat16_weights ? 1.0 / 128 : 0.0));
    for (int i = 0; i < c.slots; ++i) CHECK(error(model.state[i], expected_model.state[i]) <= 4 * tolerance);
    std::vector<float> all = weights;
    all.insert(all.end(), result.dx.begin(), result.dx.end());
    if (first.empty()) first = all;
    CHECK(same_bits(all, first));
  });
}

void compare_all() {
  for (const Case& c : cases) {
    if (under_tsan && c.batch != 65 && c.batch != 70)
      continue;  // a group's tiles and labels' tiles, in clusters of two
    if (!under_tsan) compare_with_cpu(c, DType::float32, false);
    compare_with_cpu(c, DType::bfloat16, false);
    compare_with_cpu(c, DType::bfloat16, true);
  }
}

}  // namespace

TEST_CASE("the fused step in clusters equals the CPU's, in every order of the threads") { compare_all(); }

TEST_CASE("the same where no cluster holds the batch and shared memory holds no whole dX") {
  setenv("SPARSEXMC_SHIM_CLUSTER", "1", 1);
  setenv("SPARSEXMC_SHIM_SHARED", "54000", 1);
  compare_all();
  unsetenv("SPARSEXMC_SHIM_CLUSTER");
  unsetenv("SPARSEXMC_SHIM_SHARED");
}

TEST_CASE("a step that is to be skipped changes nothing") {
  Context cuda(Device{DeviceKind::cuda, 0}, 2);
  const uint32_t skip = 1;
  Model model(cases[1]);
  const std::vector<float> before = model.weights, bias = model.bias;
  const Result result = step<Cuda>(cuda, cases[1], model, DType::bfloat16, &skip);
  CHECK(same_bits(model.weights, before));
  CHECK(same_bits(model.bias, bias));
  CHECK(result.loss == 0.0);
  for (float x : result.dx) CHECK(x == 0.0f);
}

TEST_CASE("stochastic rounding keeps the mean") {
  // 4096 equal updates that a bf16 weight near 1 (spacing 2^-7) could not see if they were rounded to nearest.
  constexpr int64_t labels = 4096;
  const Case c{1, labels, 1, 16, 1, Loss::squared_hinge, 0, false, true};
  Model model(c);
  for (float& w : model.weights) w = 1.0f;
  for (float& b : model.bias) b = 0.0f;
  model.store_as_bfloat16();
  Model exact(c);
  exact.weights.assign(exact.weights.size(), 1.0f);
  exact.bias.assign(exact.bias.size(), 0.0f);
  Context cpu(Device{}, 2), cuda(Device{DeviceKind::cuda, 0}, 2);
  step<Cpu>(cpu, c, exact, DType::float32);
  step<Cuda>(cuda, c, model, DType::float32);
  double rounded = 0.0, expected = 0.0;
  for (float w : model.stored_weights()) rounded += w;
  for (float w : exact.weights) expected += w;
  CHECK(std::fabs(rounded - expected) / labels < 1e-3);  // nearest would be off by up to 4e-3
}

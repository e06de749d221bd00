// Rewiring on the shim against the CPU backend. Weights and inputs are small multiples of powers of two, so the scales
// of the features, the scores and the gradients of the squared hinge are the same in any order of summation: both
// backends must agree to the bit, and have many ties to resolve alike.
#include <cstdlib>
#include <memory>
#include <numeric>

#include "orders.h"
#include "random_data.h"

using namespace sparsexmc;
using namespace sparsexmc::kernels;

namespace {

struct Case {
  int64_t in_features, rows, group_size, fan_in;
  double fraction;
  std::vector<int64_t> batches;  // powers of two, as is their number
  bool wide = false;
  int states = 1;
  int levels = 4;  // weights are i / 4 with |i| <= levels
};
const Case cases[] = {
    {40, 70, 1, 7, 0.3, {4}},
    {90, 33, 3, 12, 0.34, {8, 32}, true, 2},
    {30, 50, 16, 25, 0.9, {16}},  // little room: groups drop less than the cut says
    {130, 40, 32, 66, 0.2, {128}, false, 0},
    {70, 150, 64, 20, 0.25, {2, 64}, true, 1, 1},  // two tiles per group
    {24, 40, 16, 6, 0.5, {1}, false, 2, 0},        // all scores equal
    {9, 20, 5, 9, 0.5, {4}},                       // no room
    {20, 10, 2, 4, 0.1, {4}},                      // scope group: nobody goes
    {300, 7, 16, 280, 0.7, {4}, true},             // more connections than threads
};
const Case in_waves = {500, 350, 1, 3, 0.5, {2}};

struct Outcome {
  std::vector<float> weights, states[2];
  std::vector<uint32_t> indices;
  int64_t changed = -1;
  double dropped = -1.0, grown = -1.0;
};

class Problem {
 public:
  explicit Problem(const Case& c) : shape(c), random_(static_cast<uint32_t>(c.rows)) {
    groups = ceil_div(c.rows, c.group_size);
    weights = numbers(groups * c.fan_in * c.group_size, c.levels, 4.0f);  // padding rows too: they must not count
    bias = numbers(groups * c.group_size, 4, 4.0f);
    std::vector<uint32_t> features(static_cast<size_t>(c.in_features));
    std::iota(features.begin(), features.end(), 0u);
    for (int64_t group = 0; group < groups; ++group) {
      std::shuffle(features.begin(), features.end(), random_);
      std::sort(features.begin(), features.begin() + c.fan_in);
      indices.insert(indices.end(), features.begin(), features.begin() + c.fan_in);
    }
    for (const int64_t batch : c.batches) {
      inputs.push_back(numbers(c.in_features * batch, 2, 2.0f));
      std::vector<Positive> list;
      for (int64_t row = 0; row < c.rows; ++row)
        for (int64_t column = 0; column < batch; ++column)
          if (random_() % 8 == 0) list.push_back({static_cast<uint32_t>(row), static_cast<uint32_t>(column)});
      positives.push_back(list);
    }
  }

  template <class Device>
  Outcome rewire(RewiringMethod method, RewiringScope scope, DType compute, DType weight_dtype, Loss loss);

  const Case& shape;
  int64_t groups;
  std::vector<float> weights, bias;
  std::vector<uint32_t> indices;
  std::vector<std::vector<float>> inputs;
  std::vector<std::vector<Positive>> positives;

 private:
  std::vector<float> numbers(int64_t n, int levels, float divisor) {
    std::uniform_int_distribution<int> number(-levels, levels);
    std::vector<float> v(static_cast<size_t>(n));
    for (float& x : v) x = static_cast<float>(number(random_)) / divisor;
    return v;
  }

  std::mt19937 random_;
};

template <class Device>
Outcome Problem::rewire(RewiringMethod method, RewiringScope scope, DType compute, DType weight_dtype, Loss loss) {
  Context context;
  Outcome o;
  o.indices = indices;
  Operand stored(weight_dtype, weights);
  std::vector<uint16_t> narrow(indices.begin(), indices.end());
  RewireStep p;
  p.changed = &o.changed;
  p.score_dropped = &o.dropped;
  p.score_grown = &o.grown;
  Segment& s = p.segment;
  s.weights = {stored.data(), weight_dtype};
  s.bias = bias.data();
  s.indices = shape.wide ? static_cast<void*>(o.indices.data()) : narrow.data();
  s.wide_indices = shape.wide;
  for (int i = 0; i < shape.states; ++i) {
    o.states[i].resize(weights.size());
    std::iota(o.states[i].begin(), o.states[i].end(), static_cast<float>(1 + i));
    s.weight_state[i].data = o.states[i].data();
  }
  s.rows = shape.rows;
  s.groups = groups;
  s.group_size = shape.group_size;
  s.fan_in = shape.fan_in;
  s.in_features = shape.in_features;

  std::vector<std::unique_ptr<Operand>> operands;
  std::vector<KeptBatch> kept;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const int64_t batch = shape.batches[i], ldx = leading_dimension(Device{}, batch);
    operands.push_back(std::make_unique<Operand>(compute, padded(inputs[i], shape.in_features, batch, ldx)));
    kept.push_back(
        {operands.back()->data(), positives[i].data(), static_cast<int64_t>(positives[i].size()), batch, ldx});
    p.ldx = larger(p.ldx, ldx);
  }
  p.kept = kept.data();
  p.num_kept = static_cast<int64_t>(kept.size());
  p.compute = compute;
  p.method = method;
  p.scope = scope;
  p.loss = loss;
  p.fraction = shape.fraction;
  p.seed = 3;
  p.step = 100;
  p.segment_number = 2;
  const Machine card = machine(Device{}, {}, context.threads().num_threads());
  MemoryPool pool(device_memory(Device{}, {}));
  const int64_t gradients = method == RewiringMethod::rigl ? p.num_kept : 0;
  const Allocation scratch =
      pool.allocate("scratch", static_cast<size_t>(rewire_scratch(Device{}, card, s, p.ldx, gradients)));
  p.scratch = scratch.as<void>();
  rewire_step(Device{}, context, p);
  o.weights = stored.values();
  if (!shape.wide) o.indices.assign(narrow.begin(), narrow.end());
  return o;
}

void check_same(const Outcome& a, const Outcome& b) {
  CHECK(a.changed == b.changed);
  CHECK(a.indices == b.indices);
  CHECK(a.weights == b.weights);
  CHECK(a.states[0] == b.states[0]);
  CHECK(a.states[1] == b.states[1]);
  CHECK(a.dropped == doctest::Approx(b.dropped).epsilon(1e-12));
}

constexpr RewiringScope scopes[] = {RewiringScope::layer, RewiringScope::group};

}  // namespace

TEST_SUITE("shim: rewiring") {
  TEST_CASE("SET changes what it changes on the CPU, in any order of the threads") {
    for (const Case& c : cases)
      for (const RewiringScope scope : scopes) {
        CAPTURE(c.rows);
        CAPTURE(c.group_size);
        Problem problem(c);
        const Outcome cpu = problem.rewire<Cpu>(RewiringMethod::set, scope, DType::float32, DType::float32, Loss::bce);
        CHECK((cpu.changed > 0) == (c.in_features > c.fan_in && (scope == scopes[0] || c.fraction * c.fan_in >= 1.0)));
        in_all_orders([&] {
          const Outcome cuda =
              problem.rewire<Cuda>(RewiringMethod::set, scope, DType::float32, DType::float32, Loss::bce);
          check_same(cuda, cpu);
          CHECK(cuda.grown == 0.0);
        });
        check_same(problem.rewire<Cuda>(RewiringMethod::set, scope, DType::float32, DType::bfloat16, Loss::bce), cpu);
      }
  }

  TEST_CASE("RigL with exact gradients grows what it grows on the CPU") {
    for (const Case& c : cases)
      for (const RewiringScope scope : scopes) {
        CAPTURE(c.rows);
        CAPTURE(c.group_size);
        Problem problem(c);
        const auto rewire = [&]<class Device>(Device, DType compute, DType weights) {
          return problem.rewire<Device>(RewiringMethod::rigl, scope, compute, weights, Loss::squared_hinge);
        };
        const Outcome cpu = rewire(Cpu{}, DType::float32, DType::float32);
        in_all_orders([&] {
          const Outcome cuda = rewire(Cuda{}, DType::bfloat16, DType::float32);
          check_same(cuda, cpu);
          CHECK(cuda.grown == doctest::Approx(cpu.grown).epsilon(1e-12));
        });
        for (const DType weights : {DType::float32, DType::bfloat16})
          check_same(rewire(Cuda{}, DType::float32, weights), cpu);
        check_same(rewire(Cuda{}, DType::bfloat16, DType::bfloat16), cpu);
      }
  }

  TEST_CASE("RigL with rounded gradients grows nearly the same") {
    for (const Case& c : cases)
      for (const DType compute : {DType::float32, DType::bfloat16}) {
        CAPTURE(c.rows);
        CAPTURE(c.group_size);
        const bool exact = compute == DType::float32;
        Problem problem(c);
        for (std::vector<float>& x : problem.inputs)  // no ties between features
          for (size_t i = 0; i < x.size(); ++i) x[i] += static_cast<float>(i * 37 % 127) / 128.0f;
        const Outcome cpu =
            problem.rewire<Cpu>(RewiringMethod::rigl, RewiringScope::layer, DType::float32, DType::float32, Loss::bce);
        const Outcome cuda =
            problem.rewire<Cuda>(RewiringMethod::rigl, RewiringScope::layer, compute, DType::float32, Loss::bce);
        CHECK(cuda.changed == cpu.changed);
        CHECK(cuda.dropped == doctest::Approx(cpu.dropped).epsilon(exact ? 1e-12 : 1e-2));
        CHECK(cuda.grown == doctest::Approx(cpu.grown).epsilon(exact ? 1e-5 : 1e-2));
        if (exact) CHECK(cuda.indices == cpu.indices);
      }
  }

  TEST_CASE("the number of multiprocessors changes nothing; on few, the groups come in waves") {
    Problem problem(in_waves);
    const auto rewire = [&]<class Device>(Device) {
      return problem.rewire<Device>(RewiringMethod::rigl, RewiringScope::layer, DType::float32, DType::float32,
                                    Loss::squared_hinge);
    };
    const Outcome cpu = rewire(Cpu{});
    for (const char* number : {"1", "40"}) {
      setenv("SPARSEXMC_SHIM_MULTIPROCESSORS", number, 1);
      check_same(rewire(Cuda{}), cpu);
    }
    unsetenv("SPARSEXMC_SHIM_MULTIPROCESSORS");
  }

  TEST_CASE("room for more kept batches is enough for fewer") {
    Segment s;
    s.rows = s.groups = 100'000;
    s.fan_in = 32;
    s.in_features = 700;
    for (const Machine& card : {Machine{1, 0, {}}, Machine{132, 0, {}}}) {
      int64_t room = rewire_scratch(Cuda{}, card, s, 64, 0);
      for (int64_t kept = 1; kept < 40; ++kept) {
        const int64_t more = rewire_scratch(Cuda{}, card, s, 64 * kept, kept);
        CHECK(room <= more);
        room = more;
      }
    }
  }
}

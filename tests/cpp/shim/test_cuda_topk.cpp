// Fused top-k on the shim against the CPU backend. Weights, inputs and biases are small multiples of 1/128, so every
// logit is exact in fp32 in any order of summation and from bf16 operands: scores and ids must be equal, ties included.
#include <cstdlib>
#include <limits>
#include <numeric>
#include <string>
#include <type_traits>

#include "orders.h"
#include "random_data.h"

using namespace sparsexmc;
using namespace sparsexmc::kernels;

namespace {

struct SegmentShape {
  int64_t rows, group_size, fan_in;  // fan_in 0: dense
  bool wide = false;
};
struct Case {
  int64_t in_features, batch, k;
  std::vector<SegmentShape> segments;
  int levels = 128;  // weights and inputs are i / 128 with |i| <= levels; few levels: many ties
};
const Case cases[] = {
    {1, 1, 1, {{1, 1, 1}}},
    {40, 1, 5, {{150, 1, 7}, {9, 1, 0}}},
    {70, 65, 3, {{21, 16, 0}, {203, 16, 9}}},
    {130, 64, 33, {{401, 32, 66, true}}},
    {20, 3, 100, {{70, 5, 3}, {17, 1, 20}}},  // fewer labels than places
    {33, 130, 7, {{300, 48, 33}}, 1},
    {12, 2, 1000, {{40, 4, 0}, {1500, 33, 12, true}}, 2},
    {9, 63, 32, {{260, 20, 5}}, 0},  // all logits equal
    {90, 31, 64, {{330, 1, 64, true}, {45, 8, 0}}, 1},
};

struct Data {
  std::vector<float> weights, bias;
  std::vector<bfloat16> half_weights;
  std::vector<uint16_t> narrow;
  std::vector<uint32_t> wide, labels;
  Segment segment;
};

struct Problem {
  explicit Problem(const Case& c) : shape(c), random(c.in_features * 31 + c.k), x(numbers(c.in_features * c.batch)) {
    int64_t num_labels = 0;
    for (const SegmentShape& s : c.segments) num_labels += s.rows;
    std::vector<uint32_t> user_ids(static_cast<size_t>(num_labels));
    std::iota(user_ids.begin(), user_ids.end(), 0u);
    std::shuffle(user_ids.begin(), user_ids.end(), random);
    for (const SegmentShape& s : c.segments) {
      segments.push_back(make_segment(s));
      segments.back().labels.assign(user_ids.end() - s.rows, user_ids.end());
      user_ids.resize(user_ids.size() - static_cast<size_t>(s.rows));
    }
  }

  std::vector<float> numbers(int64_t n) {
    std::uniform_int_distribution<int> number(-shape.levels, shape.levels);
    std::vector<float> v(static_cast<size_t>(n));
    for (float& value : v) value = static_cast<float>(number(random)) / 128.0f;
    return v;
  }

  Data make_segment(const SegmentShape& s) {
    Data d;
    d.segment.rows = s.rows;
    d.segment.group_size = s.group_size;
    d.segment.groups = ceil_div(s.rows, s.group_size);
    d.segment.in_features = shape.in_features;
    d.segment.fan_in = s.fan_in > 0 ? s.fan_in : shape.in_features;
    d.segment.wide_indices = s.wide;
    d.weights = numbers(d.segment.groups * d.segment.fan_in * s.group_size);
    for (float w : d.weights) d.half_weights.push_back(cuda::to_bfloat16(w));
    d.bias = numbers(d.segment.groups * s.group_size);
    for (float& b : d.bias) b -= 2.0f;  // below the zero that padding would give
    if (s.fan_in == 0) return d;
    std::vector<uint32_t> features(static_cast<size_t>(shape.in_features));
    std::iota(features.begin(), features.end(), 0u);
    for (int64_t group = 0; group < d.segment.groups; ++group) {
      std::shuffle(features.begin(), features.end(), random);
      std::sort(features.begin(), features.begin() + s.fan_in);
      d.wide.insert(d.wide.end(), features.begin(), features.begin() + s.fan_in);
    }
    d.narrow.assign(d.wide.begin(), d.wide.end());
    return d;
  }

  const Case& shape;
  std::mt19937 random;
  std::vector<float> x;  // [in_features, batch]
  std::vector<Data> segments;
};

struct Ranking {
  std::vector<float> scores;
  std::vector<int64_t> ids;
  bool operator==(const Ranking&) const = default;
};

/// @param planned the largest batch that room was made for
template <class Device>
Ranking rank(Context& context, Problem& problem, int64_t planned, DType compute, DType weight_dtype) {
  const Case& c = problem.shape;
  const int64_t ldx = leading_dimension(Device{}, c.batch);
  Operand xt(compute, padded(problem.x, c.in_features, c.batch, ldx));
  std::vector<Segment> segments;
  for (Data& d : problem.segments) {
    Segment s = d.segment;
    s.weights.data = weight_dtype == DType::bfloat16 ? static_cast<void*>(d.half_weights.data()) : d.weights.data();
    s.weights.dtype = weight_dtype;
    s.bias = d.bias.data();
    if (!d.wide.empty()) s.indices = s.wide_indices ? static_cast<void*>(d.wide.data()) : d.narrow.data();
    segments.push_back(s);
  }
  const TopKSizes sizes = topk_sizes(Device{}, machine(Device{}, {}, context.threads().num_threads()), segments.data(),
                                     static_cast<int64_t>(segments.size()), planned);
  std::vector<Candidate> lists(static_cast<size_t>(sizes.lists * planned * c.k), Candidate{NAN, 0});
  std::vector<char> scratch(static_cast<size_t>(sizes.scratch_bytes) + 64);
  void* start = scratch.data();
  size_t room = scratch.size();
  TopK p;
  p.lists = lists.data();
  p.scratch = std::align(64, 1, start, room);
  p.xt = xt.data();
  p.compute = compute;
  p.batch = c.batch;
  p.ldx = ldx;
  p.k = c.k;
  for (size_t i = 0; i < segments.size(); ++i) {
    p.segment = segments[i];
    p.labels = problem.segments[i].labels.data();
    p.first = i == 0;
    topk(Device{}, context, p);
  }
  const auto places = static_cast<size_t>(c.batch * c.k);
  Ranking r{std::vector<float>(places, NAN), std::vector<int64_t>(places, -7)};
  topk_merge(Device{}, context, {r.scores.data(), r.ids.data(), lists.data(), sizes.lists, c.batch, c.k});
  return r;
}

Ranking expected(Context& context, Problem& problem) {
  return rank<Cpu>(context, problem, problem.shape.batch, DType::float32, DType::float32);
}

class Multiprocessors {
 public:
  explicit Multiprocessors(int number) { setenv(name, std::to_string(number).c_str(), 1); }
  ~Multiprocessors() { unsetenv(name); }
  Multiprocessors(const Multiprocessors&) = delete;
  Multiprocessors& operator=(const Multiprocessors&) = delete;

 private:
  static constexpr const char* name = "SPARSEXMC_SHIM_MULTIPROCESSORS";
};

}  // namespace

TEST_SUITE("shim: top-k") {
  TEST_CASE("scores and ids are those of the CPU, in any order of the threads") {
    Context context;
    for (const Case& c : cases) {
      CAPTURE(c.in_features);
      Problem problem(c);
      const Ranking cpu = expected(context, problem);
      in_all_orders([&] {
        for (const DType compute : {DType::float32, DType::bfloat16})
          CHECK(rank<Cuda>(context, problem, c.batch, compute, DType::float32) == cpu);
        CHECK(rank<Cuda>(context, problem, c.batch, DType::bfloat16, DType::bfloat16) == cpu);
      });
      CHECK(rank<Cuda>(context, problem, c.batch, DType::float32, DType::bfloat16) == cpu);
    }
  }

  TEST_CASE("the number of multiprocessors and the batch that was planned for change nothing") {
    Context context;
    for (const int number : {1, 3, 40}) {
      CAPTURE(number);
      const Multiprocessors multiprocessors(number);
      for (const Case* c : {&cases[2], &cases[3], &cases[4]}) {
        Problem problem(*c);
        const Ranking cpu = expected(context, problem);
        for (const int64_t planned : {c->batch, c->batch + 1, 4 * c->batch})
          CHECK(rank<Cuda>(context, problem, planned, DType::bfloat16, DType::float32) == cpu);
      }
    }
  }

  TEST_CASE("NaN is never ranked, infinities are") {
    Context context;
    for (const int64_t k : {5, 60}) {
      Case c = cases[2];
      c.segments = {{50, 16, 9}};
      c.k = k;
      Problem problem(c);
      std::vector<float>& bias = problem.segments[0].bias;
      bias[3] = bias[49] = std::numeric_limits<float>::quiet_NaN();
      bias[17] = std::numeric_limits<float>::infinity();
      bias[18] = bias[5] = -std::numeric_limits<float>::infinity();
      CHECK(rank<Cuda>(context, problem, c.batch, DType::bfloat16, DType::float32) == expected(context, problem));
    }
  }

  TEST_CASE("weights that bf16 does not hold are rounded for bf16 products only") {
    Context context;
    Problem problem(cases[3]);
    for (float& w : problem.segments[0].weights) w *= 1.0f / 3;
    const Ranking cpu = expected(context, problem);
    check_close(rank<Cuda>(context, problem, 64, DType::float32, DType::float32).scores, cpu.scores, 1e-5f);
    check_close(rank<Cuda>(context, problem, 64, DType::bfloat16, DType::float32).scores, cpu.scores, 1.0f / 128);
  }

  TEST_CASE("two blocks per multiprocessor share the labels") {
    const auto lists = [](int64_t batch) { return topk_sizes(Cuda{}, Machine{132, 0, {}}, nullptr, 0, batch).lists; };
    CHECK(lists(1) == 264);
    CHECK(lists(65) == 260);  // 264 for a batch of 64
    CHECK(lists(256) == 66);
    CHECK(lists(100'000) == 1);
  }
}

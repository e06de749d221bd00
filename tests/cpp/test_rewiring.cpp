// Rewiring through the kernel: what it may never do, whatever the sizes, the method and the number of threads.
#include <doctest/doctest.h>

#include <cstdint>
#include <vector>

#include "integers.h"
#include "kernels.h"
#include "sparsexmc/context.h"

namespace {

using namespace sparsexmc;
using kernels::Cpu;

struct Shape {
  int64_t rows, group_size, fan_in, in_features;
  RewiringMethod method;
  RewiringScope scope;
  double fraction;
};

/// A small segment with momentum, one kept batch, and the outcome of one rewiring.
struct Model {
  static constexpr int64_t batch = 19, ldx = 32;

  explicit Model(const Shape& shape) : shape_(shape) {
    groups = ceil_div(shape.rows, shape.group_size);
    weights.resize(static_cast<size_t>(groups * shape.fan_in * shape.group_size));
    momentum.resize(weights.size());
    bias.resize(static_cast<size_t>(groups * shape.group_size));
    indices.resize(static_cast<size_t>(groups * shape.fan_in));
    xt.resize(static_cast<size_t>(shape.in_features * ldx));
    for (size_t i = 0; i < momentum.size(); ++i) momentum[i] = 1.0f + static_cast<float>(i);
    for (int64_t h = 0; h < shape.in_features; ++h)
      for (int64_t b = 0; b < batch; ++b)
        xt[static_cast<size_t>(h * ldx + b)] = static_cast<float>((h * 7 + b * 11) % 13) / 13.0f - 0.4f;
    for (int64_t b = 0; b < batch; ++b)
      positives.push_back({static_cast<uint32_t>(b * shape.rows / batch), static_cast<uint32_t>(b)});
    Context context(Device{}, 1);
    kernels::InitSegment init;
    init.segment = segment();
    init.bound = 1.0f;
    init.seed = 5;
    kernels::init_segment(Cpu{}, context, init);
  }

  kernels::Segment segment() {
    kernels::Segment s;
    s.weights.data = weights.data();
    s.bias = bias.data();
    s.indices = indices.data();
    s.weight_state[0].data = momentum.data();
    s.rows = shape_.rows;
    s.groups = groups;
    s.group_size = shape_.group_size;
    s.fan_in = shape_.fan_in;
    s.in_features = shape_.in_features;
    return s;
  }

  void rewire(int threads) {
    Context context(Device{}, threads);
    const kernels::KeptBatch kept{xt.data(), positives.data(), static_cast<int64_t>(positives.size()), batch, ldx};
    kernels::RewireStep p;
    p.changed = &changed;
    p.score_dropped = &score_dropped;
    p.score_grown = &score_grown;
    p.segment = segment();
    p.kept = &kept;
    p.num_kept = 1;
    p.ldx = ldx;
    p.method = shape_.method;
    p.scope = shape_.scope;
    p.fraction = shape_.fraction;
    p.seed = 3;
    p.step = 100;
    const int64_t gradients = shape_.method == RewiringMethod::rigl ? p.num_kept : 0;
    const int64_t bytes =
        kernels::rewire_scratch(Cpu{}, kernels::machine(Cpu{}, {}, threads), p.segment, ldx, gradients);
    const Allocation scratch = context.pool().allocate("scratch.rewiring", static_cast<size_t>(bytes));
    p.scratch = scratch.as<void>();
    kernels::rewire_step(Cpu{}, context, p);
  }

  int64_t groups;
  std::vector<float> weights, momentum, bias, xt;
  std::vector<uint16_t> indices;
  std::vector<kernels::Positive> positives;
  int64_t changed = -1;
  double score_dropped = -1.0, score_grown = -1.0;

 private:
  Shape shape_;
};

/// Checks one group: ascending features; survivors keep their numbers; the grown have none. Returns the number grown.
int64_t check_group(const Shape& shape, const Model& before, const Model& after, int64_t group) {
  const int64_t first = group * shape.fan_in;
  int64_t grown = 0;
  for (int64_t f = 0; f < shape.fan_in; ++f) {
    const uint16_t feature = after.indices[static_cast<size_t>(first + f)];
    CHECK(feature < shape.in_features);
    if (f > 0) CHECK(after.indices[static_cast<size_t>(first + f - 1)] < feature);
    int64_t old = 0;
    while (old < shape.fan_in && before.indices[static_cast<size_t>(first + old)] != feature) ++old;
    if (old == shape.fan_in) ++grown;
    for (int64_t g = 0; g < shape.group_size; ++g) {
      const size_t to = static_cast<size_t>((first + f) * shape.group_size + g);
      const size_t from = static_cast<size_t>((first + old) * shape.group_size + g);
      CHECK(after.weights[to] == (old == shape.fan_in ? 0.0f : before.weights[from]));
      CHECK(after.momentum[to] == (old == shape.fan_in ? 0.0f : before.momentum[from]));
    }
  }
  return grown;
}

}  // namespace

TEST_CASE("rewiring keeps survivors, zeroes the grown and does not depend on threads") {
  for (const RewiringMethod method : {RewiringMethod::set, RewiringMethod::rigl})
    for (const RewiringScope scope : {RewiringScope::layer, RewiringScope::group})
      for (Shape shape : {Shape{50, 16, 8, 40, method, scope, 0.3}, Shape{33, 1, 6, 9, method, scope, 0.5},
                          Shape{21, 5, 12, 12, method, scope, 0.5}, Shape{70, 33, 30, 31, method, scope, 0.4}}) {
        CAPTURE(shape.rows);
        CAPTURE(shape.group_size);
        const Model before(shape);
        Model after(shape);
        after.rewire(1);
        int64_t grown = 0;
        for (int64_t group = 0; group < before.groups; ++group) grown += check_group(shape, before, after, group);
        CHECK(grown == after.changed);
        const int64_t room = shape.in_features - shape.fan_in;
        const int64_t per_group =
            smaller(static_cast<int64_t>(shape.fraction * static_cast<double>(shape.fan_in)), room);
        if (scope == RewiringScope::group) CHECK(after.changed == before.groups * per_group);
        CHECK((room == 0) == (after.changed == 0));

        Model threaded(shape);
        threaded.rewire(3);
        CHECK(threaded.weights == after.weights);
        CHECK(threaded.momentum == after.momentum);
        CHECK(threaded.indices == after.indices);
        CHECK(threaded.changed == after.changed);
        CHECK(threaded.score_dropped == after.score_dropped);
        CHECK(threaded.score_grown == after.score_grown);
      }
}

TEST_CASE("rewiring drops ties from the front") {
  const Shape shape{32, 4, 4, 64, RewiringMethod::set, RewiringScope::layer, 0.25};
  Model before(shape);
  before.weights.assign(before.weights.size(), 0.5f);
  for (size_t i = 0; i < before.xt.size(); ++i)  // so that the scale of every feature is 1
    before.xt[i] = static_cast<int64_t>(i) % Model::ldx < Model::batch ? 1.0f : 0.0f;
  Model after = before;
  after.rewire(2);
  CHECK(after.changed == 8);
  CHECK(after.score_dropped == 0.5);
  CHECK(after.score_grown == 0.0);
  for (int64_t group = 0; group < before.groups; ++group)  // eight of 32 equal scores: the first two groups, whole
    CHECK(check_group(shape, before, after, group) == (group < 2 ? 4 : 0));
}

// The hidden layer over sparse rows on the shim against the CPU backend.
#include "hidden_cases.h"

namespace {

/// Rows of a sparse batch, and its nonzeros sorted by (feature, instance). Every third row is empty.
struct SparseRows {
  explicit SparseRows(const Case& c) {
    std::mt19937 random(21);
    for (int64_t b = 0; b < c.batch; ++b) {
      for (int64_t f = 0; b % 3 != 2 && f < c.features; ++f)
        if (random() % 4 == 0) {
          columns.push_back(static_cast<int32_t>(f));
          values.push_back(static_cast<float>(random() % 256) / 64 - 2);
          entries.push_back({static_cast<uint32_t>(f), static_cast<uint32_t>(b), values.back()});
        }
      indptr.push_back(static_cast<int64_t>(columns.size()));
    }
    std::sort(entries.begin(), entries.end(), [](const SparseEntry& a, const SparseEntry& b) {
      return std::pair(a.feature, a.instance) < std::pair(b.feature, b.instance);
    });
    for (size_t i = 0; i < entries.size(); ++i)
      if (i == 0 || entries[i].feature != entries[i - 1].feature) runs.push_back(static_cast<int64_t>(i));
    runs.push_back(static_cast<int64_t>(entries.size()));
  }
  std::vector<int64_t> indptr = {0}, runs;
  std::vector<int32_t> columns;
  std::vector<float> values;
  std::vector<SparseEntry> entries;
};

template <class Device>
std::vector<float> sparse_forward(Context& context, const Case& c, DType compute) {
  const int64_t ldx = leading_dimension(Device{}, c.batch);
  const SparseRows rows(c);
  Layer layer(c);
  Operand ht(compute, c.units * ldx);
  std::vector<float> scratch(static_cast<size_t>(ldx * round_up(c.units, 16)), NAN);
  SparseHiddenForward p;
  p.ht = ht.data();
  p.compute = compute;
  p.rows_scratch = scratch.data();
  p.weight = layer.weight.data();
  p.bias = layer.bias.data();
  p.indptr = rows.indptr.data();
  p.columns = rows.columns.data();
  p.values = rows.values.data();
  p.seed = 11;
  p.step = 12;
  set_sizes(p, c, ldx);
  sparse_hidden_forward(Device{}, context, p);
  return ht.values();
}

template <class Device>
Backward sparse_backward(Context& context, const Case& c, DType compute) {
  const int64_t ldx = leading_dimension(Device{}, c.batch);
  const SparseRows rows(c);
  Backward r{Layer(c), padded(random_floats(c.units * c.batch, 8), c.units, c.batch, ldx), {}};
  Operand ht(compute, padded(random_floats(c.units * c.batch, 10), c.units, c.batch, ldx));
  std::vector<float> scratch(static_cast<size_t>(ldx * round_up(c.units, 16)), NAN);
  SparseHiddenBackward p;
  r.layer.give(p);
  p.dht = r.dht.data();
  p.rows_scratch = scratch.data();
  p.ht = ht.data();
  p.compute = compute;
  p.entries = rows.entries.data();
  p.runs = rows.runs.data();
  p.num_runs = static_cast<int64_t>(rows.runs.size()) - 1;
  p.optimizer = optimizer(c.slots);
  set_sizes(p, c, ldx);
  sparse_hidden_backward(Device{}, context, p);
  return r;
}

}  // namespace

TEST_CASE("sparse hidden forward equals the CPU's") {
  Context context;
  for_all_cases([&](const Case& c, DType compute) {
    const int64_t ldx = leading_dimension(Cuda{}, c.batch);
    const auto actual = same_in_all_orders([&] { return sparse_forward<Cuda>(context, c, compute); });
    check_close(actual, ldx, sparse_forward<Cpu>(context, c, DType::float32), leading_dimension(Cpu{}, c.batch),
                c.batch, activation_tolerance(compute));
    check_padding(actual, c.batch, ldx);
  });
}

TEST_CASE("sparse hidden backward equals the CPU's") {
  Context context;
  for_all_cases([&](const Case& c, DType compute) {
    const auto actual = same_in_all_orders([&] { return sparse_backward<Cuda>(context, c, compute); });
    const Backward expected = sparse_backward<Cpu>(context, c, DType::float32);
    actual.layer.check(expected.layer);
    check_close(actual.dht, leading_dimension(Cuda{}, c.batch), expected.dht, leading_dimension(Cpu{}, c.batch),
                c.batch, 0.0f);
  });
}

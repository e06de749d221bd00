// The dense hidden layer on the shim against the CPU backend.
#include "hidden_cases.h"

TEST_CASE("hidden forward equals the CPU's") {
  Context context;
  for_all_cases([&](const Case& c, DType compute) {
    const int64_t ldx = leading_dimension(Cuda{}, c.batch);
    const auto actual = same_in_all_orders([&] { return forward<Cuda>(context, c, compute); });
    check_close(actual, ldx, forward<Cpu>(context, c, DType::float32), leading_dimension(Cpu{}, c.batch), c.batch,
                activation_tolerance(compute));
    check_padding(actual, c.batch, ldx);
  });
}

TEST_CASE("hidden backward equals the CPU's") {
  Context context;
  for_all_cases([&](const Case& c, DType compute) {
    const int64_t ldx = leading_dimension(Cuda{}, c.batch), cpu_ldx = leading_dimension(Cpu{}, c.batch);
    const auto actual = same_in_all_orders([&] { return backward<Cuda>(context, c, compute); });
    const Backward expected = backward<Cpu>(context, c, DType::float32);
    actual.layer.check(expected.layer);
    check_close(actual.dht, ldx, expected.dht, cpu_ldx, c.batch, 0.0f);
    check_close(actual.dxt, ldx, expected.dxt, cpu_ldx, c.batch, 2e-5f);
    check_padding(actual.dht, c.batch, ldx);
    check_padding(actual.dxt, c.batch, ldx);
  });
}

TEST_CASE("hidden backward without dX, and skipped") {
  Context context;
  for_all_cases([&](const Case& c, DType compute) {
    const Backward whole = backward<Cuda>(context, c, compute);
    const Backward without = backward<Cuda>(context, c, compute, false);
    CHECK(without.layer == whole.layer);
    CHECK(without.dxt == std::vector<float>(without.dxt.size(), 7.0f));
    const Backward skipped = backward<Cuda>(context, c, compute, true, 1);
    CHECK(skipped.layer == Layer(c));
    CHECK(skipped.dxt == without.dxt);
    CHECK(same_bits(skipped.dht,
                    padded(random_floats(c.units * c.batch, 8), c.units, c.batch, leading_dimension(Cuda{}, c.batch))));
  });
}

// Casts, transpositions and initialisation on the shim against the CPU backend: equal to the last bit.
#include <limits>

#include "float16.h"
#include "orders.h"
#include "random_data.h"

using namespace sparsexmc;
using namespace sparsexmc::kernels;

namespace {

constexpr DType embedding_dtypes[] = {DType::float32, DType::float16, DType::bfloat16};
constexpr int64_t shapes[][2] = {{1, 1}, {3, 5}, {33, 65}, {64, 32}};  // batch, features

/// Values as embeddings of a dtype; not all of them exact in it.
std::vector<char> embeddings(const std::vector<float>& values, DType dtype) {
  std::vector<char> bytes(values.size() * dtype_size(dtype));
  for (size_t i = 0; i < values.size(); ++i) {
    if (dtype == DType::float32) {
      reinterpret_cast<float*>(bytes.data())[i] = values[i];
    } else {
      const uint16_t bits = dtype == DType::float16 ? to_float16(values[i]) : cuda::to_bfloat16(values[i]).bits;
      reinterpret_cast<uint16_t*>(bytes.data())[i] = bits;
    }
  }
  return bytes;
}

/// Numbers of all magnitudes that float16 holds, subnormal ones too.
std::vector<float> any_floats(int64_t n) {
  std::mt19937 random(5);
  std::uniform_real_distribution<float> exponent(-26.0f, 15.9f);
  std::vector<float> v(static_cast<size_t>(n));
  for (float& x : v) x = std::exp2(exponent(random)) * (random() % 2 == 0 ? 1.0f : -1.0f);
  return v;
}

struct Gathered {
  std::vector<float> xt;
  uint32_t nonfinite = 0;
};

template <class Device>
Gathered gather(Context& context, const std::vector<float>& x, DType dtype, int64_t batch, int64_t features,
                DType compute, float scale = 0.75f) {
  std::vector<char> bytes = embeddings(x, dtype);
  GatherColumns p;
  p.ldx = leading_dimension(Device{}, batch);
  Operand xt(compute, features * p.ldx);
  Gathered result;
  p.xt = xt.data();
  p.nonfinite = &result.nonfinite;
  p.x = bytes.data();
  p.dtype = dtype;
  p.batch = batch;
  p.features = features;
  p.compute = compute;
  p.scale = scale;
  gather_columns(Device{}, context, p);
  result.xt = xt.values();
  return result;
}

template <class Device>
std::vector<char> scatter(Context& context, const std::vector<float>& xt, DType dtype, int64_t batch, int64_t features,
                          uint32_t skip = 0) {
  ScatterColumns p;
  p.ldx = leading_dimension(Device{}, batch);
  const std::vector<float> columns = padded(xt, features, batch, p.ldx);
  std::vector<char> x(static_cast<size_t>(batch * features) * dtype_size(dtype), 1);
  p.x = x.data();
  p.xt = columns.data();
  p.dtype = dtype;
  p.batch = batch;
  p.features = features;
  p.skip = std::is_same_v<Device, Cuda> ? &skip : nullptr;
  p.scale = 0.75f;
  scatter_columns(Device{}, context, p);
  return x;
}

struct Shape {
  int64_t rows, group_size, fan_in, in_features;
  bool dense = false;
};

struct Initialised {
  std::vector<float> weights, bias;
  std::vector<uint32_t> indices;
  bool operator==(const Initialised&) const = default;
};

template <class Device>
Initialised initialise(Context& context, const Shape& shape, DType weight_dtype) {
  InitSegment p;
  Segment& s = p.segment;
  s.rows = shape.rows;
  s.group_size = shape.group_size;
  s.groups = ceil_div(shape.rows, shape.group_size);
  s.fan_in = shape.fan_in;
  s.in_features = shape.in_features;
  s.wide_indices = shape.in_features > 65536;
  Initialised r;
  Operand weights(weight_dtype, s.groups * s.fan_in * s.group_size);
  r.bias.assign(static_cast<size_t>(s.groups * s.group_size), NAN);
  r.indices.assign(static_cast<size_t>(s.groups * s.fan_in), 0);  // room enough for narrow ones, too
  s.weights = {weights.data(), weight_dtype};
  s.bias = r.bias.data();
  s.dense = shape.dense;
  s.indices = shape.dense ? nullptr : r.indices.data();
  p.bound = 0.3f;
  p.bias = -2.5f;
  p.seed = 0x123456789ABCDEFull;
  p.segment_number = 1;
  init_segment(Device{}, context, p);
  r.weights = weights.values();
  return r;
}

template <class Device>
Initialised initialise_hidden(Context& context, int64_t features, int64_t units) {
  Initialised r;
  r.weights.assign(static_cast<size_t>(features * units), NAN);
  r.bias.assign(static_cast<size_t>(units), NAN);
  InitHidden p;
  p.weight = r.weights.data();
  p.bias = r.bias.data();
  p.features = features;
  p.units = units;
  p.bound = 0.7f;
  p.seed = 77;
  init_hidden(Device{}, context, p);
  return r;
}

}  // namespace

TEST_CASE("gather_columns equals the CPU's, rounded to what the products read") {
  Context context;
  for (const auto& [batch, features] : shapes)
    for (const DType dtype : embedding_dtypes)
      for (const DType compute : {DType::float32, DType::bfloat16}) {
        CAPTURE(batch);
        CAPTURE(dtype_name(dtype));
        CAPTURE(dtype_name(compute));
        const std::vector<float> x = any_floats(batch * features);
        const Gathered expected = gather<Cpu>(context, x, dtype, batch, features, DType::float32);
        const int64_t ldx = leading_dimension(Cuda{}, batch), cpu_ldx = leading_dimension(Cpu{}, batch);
        REQUIRE(ldx % 64 == 0);
        in_all_orders([&] {
          const Gathered actual = gather<Cuda>(context, x, dtype, batch, features, compute);
          CHECK(actual.nonfinite == 0);
          check_padding(actual.xt, batch, ldx);
          check_close(actual.xt, ldx, Operand(compute, expected.xt).values(), cpu_ldx, batch, 0.0f);
        });
      }
}

TEST_CASE("gather_columns finds NaN and Inf, also where only bf16 overflows") {
  Context context;
  const float bad[] = {NAN, -INFINITY, INFINITY};
  for (const DType dtype : embedding_dtypes)
    for (const float value : bad) {
      std::vector<float> x(33 * 33, 1.0f);
      x[32 * 33 + 32] = value;
      CHECK(gather<Cuda>(context, x, dtype, 33, 33, DType::float32).nonfinite == 1);
      CHECK(gather<Cuda>(context, x, dtype, 33, 33, DType::bfloat16).nonfinite == 1);
    }
  const std::vector<float> large = {std::numeric_limits<float>::max()};
  CHECK(gather<Cuda>(context, large, DType::float32, 1, 1, DType::float32, 1.0f).nonfinite == 0);
  CHECK(gather<Cuda>(context, large, DType::float32, 1, 1, DType::bfloat16, 1.0f).nonfinite == 1);
}

TEST_CASE("scatter_columns equals the CPU's; skipped: zeros") {
  Context context;
  for (const auto& [batch, features] : shapes)
    for (const DType dtype : embedding_dtypes) {
      CAPTURE(batch);
      CAPTURE(dtype_name(dtype));
      const std::vector<float> xt = any_floats(batch * features);
      const std::vector<char> expected = scatter<Cpu>(context, xt, dtype, batch, features);
      in_all_orders([&] { CHECK(scatter<Cuda>(context, xt, dtype, batch, features) == expected); });
      CHECK(scatter<Cuda>(context, xt, dtype, batch, features, 1) == std::vector<char>(expected.size()));
    }
}

TEST_CASE("init_segment equals the CPU's") {
  Context context;
  const Shape all[] = {{1, 1, 1, 1},       {37, 1, 5, 100},      {50, 16, 7, 12},
                       {33, 5, 64, 128},   {100, 32, 30, 768},   {9, 4, 3, 70000},
                       {5, 2, 90, 131072}, {7, 3, 10, 10, true}, {20, 64, 33, 33, true}};
  for (const Shape& shape : all) {
    CAPTURE(shape.rows);
    CAPTURE(shape.in_features);
    const Initialised expected = initialise<Cpu>(context, shape, DType::float32);
    Initialised rounded = expected;
    rounded.weights = Operand(DType::bfloat16, expected.weights).values();
    in_all_orders([&] {
      CHECK(initialise<Cuda>(context, shape, DType::float32) == expected);
      CHECK(initialise<Cuda>(context, shape, DType::bfloat16) == rounded);
    });
  }
}

TEST_CASE("init_hidden equals the CPU's") {
  Context context;
  for (const auto& [features, units] : shapes) {
    const Initialised expected = initialise_hidden<Cpu>(context, features, units);
    in_all_orders([&] { CHECK(initialise_hidden<Cuda>(context, features, units) == expected); });
  }
}

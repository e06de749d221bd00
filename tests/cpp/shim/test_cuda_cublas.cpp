// The loader of cuBLAS, and the hidden layer's products through it: with a stand-in library that works on the host, in
// the folder SPARSEXMC_FAKE_CUBLAS_DIR.
#include <dlfcn.h>

#include <cstdlib>

#include "cuda/cublas.h"
#include "hidden_cases.h"

using sparsexmc::cuda::Cublas;
using sparsexmc::cuda::CublasProduct;

namespace {

constexpr const char* folder = SPARSEXMC_FAKE_CUBLAS_DIR;

int64_t products_so_far() {
  void* library = dlopen((std::string(folder) + "/libcublas.so.13").c_str(), RTLD_NOW);
  REQUIRE(library != nullptr);
  return reinterpret_cast<int64_t (*)()>(dlsym(library, "fake_cublas_products"))();
}

/// [rows, columns] = weight [features, units] (or its transpose) times `in`, in the plainest way.
std::vector<float> naive(const CublasProduct& p) {
  const int64_t rows = p.weight_transposed ? p.units : p.features, depth = p.weight_transposed ? p.features : p.units;
  std::vector<float> out(static_cast<size_t>(rows * p.columns));
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t k = 0; k < depth; ++k)
      for (int64_t c = 0; c < p.columns; ++c)
        out[r * p.columns + c] +=
            p.weight[p.weight_transposed ? k * p.units + r : r * p.units + k] * p.in[k * p.columns + c];
  return out;
}

}  // namespace

TEST_CASE("without a library every product is refused") {
  CublasProduct p;
  p.features = p.units = p.columns = 1;
  for (const char* place : {"", "/no/such/folder", "/dev/null"}) {
    Cublas cublas(place);
    CHECK_FALSE(cublas.multiply(0, nullptr, p));
  }
}

TEST_CASE("products of row-major matrices") {
  Cublas cublas(folder);
  const std::vector<float> weight = random_floats(5 * 3, 1), in = random_floats(5 * 64, 2);
  alignas(256) unsigned char workspace[1024];
  for (const bool transposed : {false, true}) {
    CublasProduct p;
    std::vector<float> out(5 * 64, NAN);
    p.out = out.data();
    p.weight = weight.data();
    p.in = in.data();
    p.features = 5, p.units = 3, p.columns = 64;
    p.weight_transposed = transposed;
    CHECK_FALSE(cublas.multiply(0, nullptr, p));  // the stand-in refuses to do without a workspace
    p.workspace = workspace;
    p.workspace_bytes = sizeof workspace;
    CHECK(cublas.multiply(0, nullptr, p));
    const std::vector<float> expected = naive(p);
    out.resize(expected.size());
    check_close(out, expected, 1e-6f);
    p.columns = int64_t{1} << 31;
    CHECK_FALSE(cublas.multiply(0, nullptr, p));
  }
}

TEST_CASE("the large fp32 hidden layer goes through cuBLAS and equals the CPU's") {
  setenv("SPARSEXMC_CUBLAS_DIR", folder, 1);
  Context context;
  const Case c{300, 250, 230, 0.5f, 2};
  const int64_t ldx = leading_dimension(Cuda{}, c.batch), cpu_ldx = leading_dimension(Cpu{}, c.batch);
  int64_t before = products_so_far();
  const auto actual = forward<Cuda>(context, c, DType::float32);
  CHECK(products_so_far() == before + 1);
  check_close(actual, ldx, forward<Cpu>(context, c, DType::float32), cpu_ldx, c.batch, 2e-5f);
  check_padding(actual, c.batch, ldx);

  before = products_so_far();
  const Backward back = backward<Cuda>(context, c, DType::float32);
  CHECK(products_so_far() == before + 1);
  const Backward expected = backward<Cpu>(context, c, DType::float32);
  back.layer.check(expected.layer);
  check_close(back.dxt, ldx, expected.dxt, cpu_ldx, c.batch, 2e-5f);
  check_padding(back.dxt, c.batch, ldx);

  before = products_so_far();
  const auto halves = forward<Cuda>(context, c, DType::bfloat16);
  CHECK(products_so_far() == before);
  check_close(halves, ldx, forward<Cpu>(context, c, DType::float32), cpu_ldx, c.batch, 1.0f / 256);
}

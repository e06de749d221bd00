// Assumptions of the tests without a GPU, checked on a real card against the host: the layouts of ldmatrix and
// mma, asynchronous copies, shared memory of a cluster, conversions and approximations, and cuBLAS by dlopen. The
// kernels are those of the shim's own tests (tests/cpp/shim). Ends with the number of failed checks.
//
//   nvcc -std=c++20 -arch=native -Icpp/include -Icpp/kernels -Itests/cpp bench/first_contact.cu
//        cpp/kernels/cuda/cublas.cpp -o first_contact
#include <cmath>
#include <cstdio>
#include <cstring>
#include <exception>
#include <vector>

#include "cuda/cublas.h"
#include "shim/kernels.cuh"

using sparsexmc::bfloat16;
using namespace sparsexmc::cuda;
using namespace sparsexmc::cuda::test;

namespace {

/// A vector with a copy on the card.
template <class T>
class DeviceVector {
 public:
  explicit DeviceVector(const std::vector<T>& values) : host_(values) {
    SPARSEXMC_CUDA_CHECK(cudaMalloc(&device_, bytes()));
    SPARSEXMC_CUDA_CHECK(cudaMemcpy(device_, host_.data(), bytes(), cudaMemcpyHostToDevice));
  }
  DeviceVector(size_t count, T value) : DeviceVector(std::vector<T>(count, value)) {}
  DeviceVector(const DeviceVector&) = delete;
  DeviceVector& operator=(const DeviceVector&) = delete;
  ~DeviceVector() { cudaFree(device_); }

  T* device() { return device_; }
  /// The numbers on the card, after all launches.
  const std::vector<T>& read() {
    SPARSEXMC_CUDA_CHECK(cudaDeviceSynchronize());
    SPARSEXMC_CUDA_CHECK(cudaMemcpy(host_.data(), device_, bytes(), cudaMemcpyDeviceToHost));
    return host_;
  }

 private:
  size_t bytes() const { return host_.size() * sizeof(T); }

  std::vector<T> host_;
  T* device_ = nullptr;
};

int failures = 0;

/// Runs a check, which returns how many values were wrong.
template <class Check>
void check(const char* name, Check body) {
  try {
    const long wrong = body();
    std::printf("%s %s", wrong == 0 ? "ok   " : "FAIL ", name);
    if (wrong != 0) std::printf(": %ld values are wrong", wrong);
    std::printf("\n");
    failures += wrong != 0;
  } catch (const std::exception& error) {
    std::printf("FAIL  %s: %s\n", name, error.what());
    ++failures;
  }
  std::fflush(stdout);
}

int attribute(cudaDeviceAttr name) {
  int value = 0;
  SPARSEXMC_CUDA_CHECK(cudaDeviceGetAttribute(&value, name, 0));
  return value;
}

long wrong_fragments() {
  std::vector<uint16_t> elements(32 * 8);
  for (size_t i = 0; i < elements.size(); ++i) elements[i] = static_cast<uint16_t>(i);
  DeviceVector<uint16_t> source(elements);
  DeviceVector<uint32_t> registers(4 * 32 * 4, 0);
  launch(nullptr, {1, 32, 32 * 16}, fragments_kernel<>, {registers.device(), source.device()}, "fragments");
  const std::vector<uint32_t>& seen = registers.read();
  long wrong = 0;
  for (uint32_t form = 0; form < 4; ++form)  // x4, x4 trans, x2, x2 trans
    for (uint32_t lane = 0; lane < 32; ++lane)
      for (uint32_t matrix = 0; matrix < (form < 2 ? 4 : 2); ++matrix) {
        const uint32_t first = lane / 4, second = lane % 4 * 2, start = matrix * 64;
        const uint32_t low = start + (form % 2 == 0 ? first * 8 + second : second * 8 + first);
        const uint32_t high = low + (form % 2 == 0 ? 1 : 8);
        wrong += seen[(form * 32 + lane) * 4 + matrix] != (low | high << 16);
      }
  return wrong;
}

/// Small multiples of 1/4: products and sums are exact.
float element(int row, int column) { return static_cast<float>((row * 13 + column * 7) % 23 - 11) * 0.25f; }

template <bool a_transposed, bool b_transposed>
long wrong_products() {
  constexpr int depth = 48;
  std::vector<bfloat16> a(16 * depth), b(8 * depth);
  for (int k = 0; k < depth; ++k) {
    for (int row = 0; row < 16; ++row)
      a[static_cast<size_t>(a_transposed ? k * 16 + row : row * depth + k)] = to_bfloat16(element(row, k));
    for (int column = 0; column < 8; ++column)
      b[static_cast<size_t>(b_transposed ? column * depth + k : k * 8 + column)] = to_bfloat16(element(k + 5, column));
  }
  DeviceVector<bfloat16> device_a(a), device_b(b);
  DeviceVector<float> c(16 * 8, NAN);
  launch(nullptr, {1, 32, (256 + 128) * sizeof(bfloat16)}, small_product_kernel<a_transposed, b_transposed>,
         {c.device(), device_a.device(), device_b.device(), depth}, "small_product");
  const std::vector<float>& seen = c.read();
  long wrong = 0;
  for (int row = 0; row < 16; ++row)
    for (int column = 0; column < 8; ++column) {
      float sum = 0;
      for (int k = 0; k < depth; ++k) sum += element(row, k) * element(k + 5, column);
      wrong += seen[static_cast<size_t>(row * 8 + column)] != sum;
    }
  return wrong;
}

long wrong_copies() {
  constexpr int threads = 64, stages = 5, valid_stages = 4;
  std::vector<float> x(stages * threads * 4);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i + 1);
  DeviceVector<float> source(x), target(x.size(), NAN);
  launch(nullptr, {1, threads, 2 * threads * 16}, staged_copy_kernel<threads, 1>,
         {target.device(), source.device(), stages, valid_stages}, "staged_copy");
  const std::vector<float>& y = target.read();
  long wrong = 0;
  for (size_t i = 0; i < y.size(); ++i) {
    const size_t stage = i / (threads * 4), from = stage * threads * 4 + (i + 4) % (threads * 4);
    wrong += y[i] != (stage < valid_stages ? x[from] : 0.0f);
  }
  return wrong;
}

/// @param shared bytes of each block; clusters of the step take nearly all there are
long wrong_cluster_sums(int cluster, size_t shared) {
  constexpr int threads = 64;
  DeviceVector<int> sums(static_cast<size_t>(2 * cluster * threads), -1);
  launch(nullptr, {2 * cluster, threads, shared, cluster}, cluster_sum_kernel<threads>, {sums.device(), cluster, false},
         "cluster_sum");
  const std::vector<int>& seen = sums.read();
  long wrong = 0;
  for (size_t i = 0; i < seen.size(); ++i) {
    uint32_t sum = 0;  // wraps, as on the card
    for (int rank = 0; rank < cluster; ++rank)
      sum = sum * 3 + static_cast<uint32_t>(1000 * rank + threads - 1 - static_cast<int>(i % threads));
    wrong += static_cast<uint32_t>(seen[i]) != sum;
  }
  return wrong;
}

long wrong_row_sums() {
  constexpr int threads = 256, rows = 5, columns = 1500;
  std::vector<float> x(rows * columns);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(static_cast<int>(i * 7919 % 101) - 50);
  DeviceVector<float> source(x);
  DeviceVector<double> sums(rows, NAN);
  DeviceVector<unsigned> counts(2, 0u);
  launch(nullptr, {3, threads, row_sums_shared(threads)}, row_sums_kernel<threads>,
         {sums.device(), counts.device(), counts.device() + 1, source.device(), rows, columns}, "row_sums");
  unsigned positives = 0;
  std::vector<double> expected(rows);
  for (size_t i = 0; i < x.size(); ++i) {
    positives += x[i] > 0;
    expected[i / columns] += static_cast<double>(x[i]);
  }
  return (sums.read() != expected) + (counts.read()[0] != positives);
}

/// Conversions and approximations of the card, for the host to compare.
struct Scalars {
  float* inputs;
  uint16_t* rounded;
  uint32_t* packed;
  float *exponentials, *reciprocals;
  int64_t count;
};
SPARSEXMC_KERNEL(256, 1)
scalars_kernel(const Scalars p) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= p.count) return;
  const float x = p.inputs[i];
  p.rounded[i] = to_bfloat16(x).bits;
  p.packed[i] = pack_bfloat16(x, -x);
  p.exponentials[i] = fast_exp(x);
  p.reciprocals[i] = fast_reciprocal(x);
}

long wrong_scalars() {
  constexpr size_t count = size_t{1} << 16;
  std::vector<float> x(count);
  for (size_t i = 0; i < count; ++i) {  // bit patterns of all kinds, then the range of logits
    const uint32_t bits = static_cast<uint32_t>(i) * 2654435761u;
    std::memcpy(&x[i], &bits, sizeof bits);
    if (i >= count / 2) x[i] = static_cast<float>(static_cast<int>(i % 4001) - 2000) * 0.01f;
  }
  DeviceVector<float> inputs(x), exponentials(count, NAN), reciprocals(count, NAN);
  DeviceVector<uint16_t> rounded(count, uint16_t{0});
  DeviceVector<uint32_t> packed(count, 0u);
  launch(nullptr, {count / 256, 256}, scalars_kernel,
         {inputs.device(), rounded.device(), packed.device(), exponentials.device(), reciprocals.device(), count},
         "scalars");
  const std::vector<uint16_t>& bits = rounded.read();
  const std::vector<uint32_t>& pairs = packed.read();
  const std::vector<float>&e = exponentials.read(), &r = reciprocals.read();
  long wrong = 0;
  double worst_e = 0, worst_r = 0;
  for (size_t i = 0; i < count; ++i) {
    wrong += bits[i] != to_bfloat16(x[i]).bits;
    wrong += pairs[i] != pack_bfloat16(x[i], -x[i]);
    if (i < count / 2) continue;
    const double exact = std::exp(static_cast<double>(x[i]));
    worst_e = std::fmax(worst_e, std::fabs(static_cast<double>(e[i]) - exact) / exact);
    if (x[i] != 0.0f)
      worst_r = std::fmax(worst_r, std::fabs(static_cast<double>(r[i]) * static_cast<double>(x[i]) - 1));
  }
  std::printf("      relative error of fast_exp %.1e on [-20, 20], of fast_reciprocal %.1e\n", worst_e, worst_r);
  return wrong + (worst_e > 4e-6) + (worst_r > 3e-7);
}

/// weight [features, units] times in [units, columns], and the transpose of weight times the result's shape.
long wrong_cublas(bool transposed) {
  constexpr int64_t features = 37, units = 21, columns = 64;
  const int64_t depth = transposed ? features : units, rows = transposed ? units : features;
  std::vector<float> weight(features * units), in(static_cast<size_t>(depth * columns));
  for (size_t i = 0; i < weight.size(); ++i) weight[i] = element(static_cast<int>(i), 1);
  for (size_t i = 0; i < in.size(); ++i) in[i] = element(2, static_cast<int>(i));
  DeviceVector<float> device_weight(weight), device_in(in), out(static_cast<size_t>(rows * columns), NAN);
  DeviceVector<float> workspace(size_t{1} << 20, 0.0f);
  const CublasProduct p{.out = out.device(),
                        .weight = device_weight.device(),
                        .in = device_in.device(),
                        .workspace = workspace.device(),
                        .workspace_bytes = int64_t{4} << 20,
                        .features = features,
                        .units = units,
                        .columns = columns,
                        .weight_transposed = transposed};
  if (!Cublas::instance().multiply(0, nullptr, p)) {
    std::printf("      no cuBLAS found (SPARSEXMC_CUBLAS_DIR names its folder), or it refused\n");
    return rows * columns;
  }
  const std::vector<float>& seen = out.read();
  long wrong = 0;
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t column = 0; column < columns; ++column) {
      float sum = 0;
      for (int64_t k = 0; k < depth; ++k)
        sum += weight[static_cast<size_t>(transposed ? k * units + row : row * units + k)] *
               in[static_cast<size_t>(k * columns + column)];
      wrong += seen[static_cast<size_t>(row * columns + column)] != sum;
    }
  return wrong;
}

}  // namespace

int main() {
  check("ldmatrix layouts", wrong_fragments);
  check("mma, plain a, plain b", wrong_products<false, false>);
  check("mma, plain a, transposed b", wrong_products<false, true>);
  check("mma, transposed a, plain b", wrong_products<true, false>);
  check("mma, transposed a, transposed b", wrong_products<true, true>);
  check("asynchronous copies", wrong_copies);
  check("barriers, shuffles, votes, atomics", wrong_row_sums);
  check("bf16 conversions, exponential, reciprocal", wrong_scalars);
  try {
    const size_t most_shared = static_cast<size_t>(attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin));
    std::printf("      %d multiprocessors, %zu bytes of shared memory per block\n",
                attribute(cudaDevAttrMultiProcessorCount), most_shared);
    const bool clusters = attribute(cudaDevAttrComputeCapabilityMajor) >= 9 && attribute(cudaDevAttrClusterLaunch) != 0;
    for (const int cluster : {2, 4, 8, 16}) {
      if (!clusters) break;
      char name[80];
      std::snprintf(name, sizeof name, "shared memory of a cluster of %d, all of it taken", cluster);
      check(name, [&] { return wrong_cluster_sums(cluster, most_shared); });
    }
  } catch (const std::exception& error) {
    std::printf("FAIL  device attributes: %s\n", error.what());
    ++failures;
  }
  check("cuBLAS", [] { return wrong_cublas(false); });
  check("cuBLAS, transposed", [] { return wrong_cublas(true); });
  std::printf("%d checks failed\n", failures);
  return failures;
}

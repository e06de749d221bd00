// The pretended runtime: memory, attributes, launch limits and injected failures.
#include <doctest/doctest.h>

#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "kernels.cuh"
#include "orders.h"

using namespace sparsexmc;
using namespace sparsexmc::cuda;
using namespace sparsexmc::cuda::test;

namespace {

std::string launch_neighbours(const Launch& l) {
  std::vector<int> sums(64);
  try {
    launch(nullptr, l, neighbours_kernel<64, true>, {sums.data()}, "neighbours");
  } catch (const DeviceError& error) {
    return error.what();
  }
  return sums[1] == 4 ? "" : "wrong result";
}

constexpr Launch good{1, 64, 64 * sizeof(int)};

class Setting {
 public:
  Setting(const char* name, const char* value) : name_(name) { setenv(name, value, 1); }
  ~Setting() { unsetenv(name_); }
  Setting(const Setting&) = delete;
  Setting& operator=(const Setting&) = delete;

 private:
  const char* name_;
};

}  // namespace

TEST_SUITE("shim: runtime") {
  TEST_CASE("a launch that fails is a DeviceError that names the kernel; the next one works") {
    CHECK(launch_neighbours(good).empty());
    const int64_t before = sparsexmc_shim_launches();
    sparsexmc_shim_fail_launch(2);
    CHECK(launch_neighbours(good).empty());
    CHECK(launch_neighbours(good) == "launch of neighbours: unspecified launch failure (cudaErrorLaunchFailure)");
    CHECK(cudaPeekAtLastError() == cudaSuccess);
    CHECK(launch_neighbours(good).empty());
    CHECK(sparsexmc_shim_launches() == before + 3);
  }

  TEST_CASE("launches beyond the limits of the card are refused") {
    Launch l = good;
    l.grid = int64_t{1} << 31;
    CHECK(launch_neighbours(l) == "launch of neighbours: a grid of 2147483648 x 1 blocks");
    l = good;
    l.shared = 232449;
    CHECK(launch_neighbours(l).find("cudaErrorInvalidValue") != std::string::npos);
    l = good;
    l.cluster = 2;  // does not divide the grid
    CHECK(launch_neighbours(l).find("cudaErrorInvalidConfiguration") != std::string::npos);
    l.grid = 2;
    const Setting no_clusters("SPARSEXMC_SHIM_CLUSTER", "1");
    CHECK(launch_neighbours(l).find("cudaErrorInvalidConfiguration") != std::string::npos);
    l = good;
    l.grid = 0;
    const int64_t before = sparsexmc_shim_launches();
    launch_neighbours(l);
    CHECK(sparsexmc_shim_launches() == before);
  }

  TEST_CASE("a kernel is allowed large blocks once, whatever its launches ask for, from any thread") {
    std::vector<int> sums(96);
    const auto launch_with = [&](size_t shared) {
      launch(nullptr, {1, 96, shared}, neighbours_kernel<96, true>, {sums.data()}, "neighbours");
    };
    const int64_t before = sparsexmc_shim_attributes_set();
    launch_with(48 << 10);
    CHECK(sparsexmc_shim_attributes_set() == before);
    launch_with(60 << 10);
    const int64_t first = sparsexmc_shim_attributes_set();
    CHECK(first > before);
    std::vector<std::thread> threads;
    for (const size_t shared : {size_t{232448}, size_t{50} << 10, size_t{200000}})
      threads.emplace_back([&, shared] {
        std::vector<int> own(96);
        for (int i = 0; i < 20; ++i)
          launch(nullptr, {1, 96, shared}, neighbours_kernel<96, true>, {own.data()}, "neighbours");
      });
    for (std::thread& thread : threads) thread.join();
    CHECK(sparsexmc_shim_attributes_set() == first);
  }

  TEST_CASE("a failing call throws with statement and place, and is forgotten") {
    std::string message;
    try {
      SPARSEXMC_CUDA_CHECK(cudaSetDevice(5));
    } catch (const DeviceError& error) {
      message = error.what();
    }
    CHECK(message.rfind("test_runtime.cpp:", 0) == 0);
    CHECK(message.find("cudaSetDevice(5): invalid device ordinal (cudaErrorInvalidDevice)") != std::string::npos);
    CHECK(cudaGetLastError() == cudaSuccess);
  }

  TEST_CASE("device memory: limit, kinds of pointers, copies") {
    const int64_t before = sparsexmc_shim_memory();
    const Setting card("SPARSEXMC_SHIM_MEMORY", std::to_string(before + 1000).c_str());
    void *first = nullptr, *second = nullptr, *pinned = nullptr;
    CHECK(cudaMalloc(&first, 600) == cudaSuccess);
    CHECK(cudaMalloc(&second, 600) == cudaErrorMemoryAllocation);
    CHECK(cudaGetLastError() == cudaErrorMemoryAllocation);
    size_t free = 0, total = 0;
    cudaMemGetInfo(&free, &total);
    CHECK(free == 400);
    CHECK(cudaMallocHost(&pinned, 600) == cudaSuccess);

    cudaPointerAttributes attributes;
    cudaPointerGetAttributes(&attributes, static_cast<char*>(first) + 599);
    CHECK(attributes.type == cudaMemoryTypeDevice);
    cudaPointerGetAttributes(&attributes, pinned);
    CHECK(attributes.type == cudaMemoryTypeHost);
    cudaPointerGetAttributes(&attributes, &free);
    CHECK(attributes.type == cudaMemoryTypeUnregistered);

    std::vector<unsigned char> host(600, 3);
    CHECK(cudaMemcpyAsync(first, host.data(), 600, cudaMemcpyHostToDevice) == cudaSuccess);
    CHECK(cudaMemcpyAsync(first, host.data(), 601, cudaMemcpyHostToDevice) == cudaErrorInvalidValue);
    CHECK(cudaMemcpyAsync(host.data(), pinned, 1, cudaMemcpyDeviceToHost) == cudaErrorInvalidValue);
    CHECK(cudaMemsetAsync(first, 9, 2) == cudaSuccess);
    CHECK(cudaMemcpy2DAsync(host.data(), 10, first, 100, 4, 2, cudaMemcpyDeviceToHost) == cudaSuccess);
    CHECK(host[1] == 9);
    CHECK(host[2] == 3);
    CHECK(host[10] == 3);
    CHECK(cudaFree(pinned) == cudaErrorInvalidValue);
    CHECK(cudaFreeHost(pinned) == cudaSuccess);
    CHECK(cudaFree(first) == cudaSuccess);
    CHECK(cudaFree(first) == cudaErrorInvalidValue);
    CHECK(sparsexmc_shim_memory() == before);
    cudaGetLastError();
  }

  TEST_CASE("attributes come from the environment") {
    const auto attribute = [](cudaDeviceAttr which) {
      int value = -1;
      CHECK(cudaDeviceGetAttribute(&value, which, 0) == cudaSuccess);
      return value;
    };
    CHECK(attribute(cudaDevAttrMultiProcessorCount) == 5);
    CHECK(attribute(cudaDevAttrComputeCapabilityMajor) == 9);
    const Setting multiprocessors("SPARSEXMC_SHIM_MULTIPROCESSORS", "132");
    const Setting no_clusters("SPARSEXMC_SHIM_CLUSTER", "1");
    CHECK(attribute(cudaDevAttrMultiProcessorCount) == 132);
    CHECK(attribute(cudaDevAttrClusterLaunch) == 0);
    const Setting no_card("SPARSEXMC_SHIM_DEVICES", "0");
    int count = -1;
    CHECK(cudaGetDeviceCount(&count) == cudaErrorNoDevice);
    CHECK(count == 0);
    cudaGetLastError();
  }

  TEST_CASE("streams and events are always ready") {
    cudaStream_t stream = nullptr;
    cudaEvent_t event = nullptr;
    CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) == cudaSuccess);
    CHECK(cudaEventCreateWithFlags(&event, cudaEventDisableTiming) == cudaSuccess);
    CHECK(cudaEventRecord(event, stream) == cudaSuccess);
    CHECK(cudaStreamWaitEvent(stream, event, 0) == cudaSuccess);
    CHECK(cudaEventQuery(event) == cudaSuccess);
    CHECK(cudaStreamQuery(stream) == cudaSuccess);
    CHECK(cudaEventDestroy(event) == cudaSuccess);
    CHECK(cudaStreamDestroy(stream) == cudaSuccess);
  }

  TEST_CASE("an order that does not exist is refused") {
    CHECK(!sparsexmc_shim_set_order("sideways"));
    CHECK(!sparsexmc_shim_set_order("random:x"));
  }
}

// Threads of a block: barriers, shuffles, votes, atomics, and what the shim says when they do not meet.
#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <thread>
#include <vector>

#include "kernels.cuh"
#include "orders.h"

using namespace sparsexmc;
using namespace sparsexmc::cuda;
using namespace sparsexmc::cuda::test;

namespace {

struct RowSumsCase {
  static constexpr int64_t rows = 5, columns = 150;
  std::vector<float> x = std::vector<float>(rows * columns);
  std::vector<double> sums = std::vector<double>(rows);
  unsigned positive_count = 0, largest = 0;

  RowSumsCase() {
    for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(static_cast<int>(i * 7919 % 101) - 50);
  }

  template <int threads>
  void run(int64_t grid) {
    positive_count = largest = 0;
    sums.assign(sums.size(), NAN);
    launch(nullptr, {grid, threads, row_sums_shared(threads)}, row_sums_kernel<threads>,
           {sums.data(), &positive_count, &largest, x.data(), rows, columns}, "row_sums");
  }

  bool right() const {
    unsigned positives = 0;
    bool same = true;
    for (int64_t row = 0; row < rows; ++row) {
      double sum = 0;
      for (int64_t column = 0; column < columns; ++column) {
        const float value = x[static_cast<size_t>(row * columns + column)];
        sum += static_cast<double>(value);  // small integers: every order gives the same
        positives += value > 0;
      }
      same = same && sum == sums[static_cast<size_t>(row)];
    }
    return same && positives == positive_count;
  }
};

enum class Fault { divergent_barrier, early_exit, missing_lane, foreign_mask, mixed_calls, unpaired_wait, odd_row };
struct Faulty {
  Fault fault;
};
SPARSEXMC_KERNEL(64, 1) faulty_kernel(const Faulty p) {
  uint32_t registers[4];
  switch (p.fault) {
    case Fault::divergent_barrier:
      if (threadIdx.x < 40) __syncthreads();
      if (threadIdx.x >= 32) __syncwarp();
      break;
    case Fault::early_exit:
      if (threadIdx.x == 7) return;
      __syncthreads();
      break;
    case Fault::missing_lane:
      if (lane() != 3) __shfl_xor_sync(full_warp, 1, 1);
      break;
    case Fault::foreign_mask:
      __shfl_xor_sync(0x7FFFFFFFu, 1, 1);
      break;
    case Fault::mixed_calls:
      lane() < 5 ? __shfl_xor_sync(full_warp, 1, 1) : __any_sync(full_warp, 1);
      break;
    case Fault::unpaired_wait:
      cluster_wait();
      break;
    case Fault::odd_row:
      ldmatrix_x4(registers, shared_memory() + 8);
      break;
  }
}

std::string message_of(Fault fault) {
  try {
    launch(nullptr, {2, 64, 256, 2}, faulty_kernel, {fault}, "faulty");
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return "no error";
}

struct Uninitialised {
  float* value;
};
SPARSEXMC_KERNEL(1, 1) uninitialised_kernel(const Uninitialised p) {
  *p.value = reinterpret_cast<const float*>(shared_memory())[1];
}

struct Position {
  unsigned* seen;  // [grid_y, grid]
};
SPARSEXMC_KERNEL(33, 1) position_kernel(const Position p) {
  if (threadIdx.x == 32) p.seen[blockIdx.y * gridDim.x + blockIdx.x] = 100 * gridDim.y + blockDim.x;
}

}  // namespace

TEST_SUITE("shim: block") {
  TEST_CASE("a kernel with barriers, shuffles and atomics gives the reference in every order") {
    in_all_orders([] {
      RowSumsCase rows;
      rows.run<64>(3);
      CHECK(rows.right());
      const unsigned largest = rows.largest;
      rows.run<32>(5);
      CHECK(rows.right());
      rows.run<256>(2);
      CHECK(rows.right());
      CHECK(std::bit_cast<float>(largest) > 0);
    });
  }

  TEST_CASE("shuffles and votes") {
    in_all_orders([] {
      std::vector<int> results(8 * 32, 7);
      launch(nullptr, {1, 32}, exchange_kernel<>, {results.data()}, "exchange");
      int wrong = 0;
      for (int lane = 0; lane < 32; ++lane) {
        const int half = lane < 16 ? 100 + (lane ^ 1) : 200 + (lane ^ 2) + (lane ^ 4);
        const int expected[8] = {100 + (lane + 5) % 32,
                                 lane < 3 ? 100 + lane : 97 + lane,
                                 lane > 28 ? 100 + lane : 103 + lane,
                                 100 + (lane ^ 7),
                                 1,
                                 half,
                                 1 << 30,
                                 7};
        for (int test = 0; test < 8; ++test) wrong += results[static_cast<size_t>(test * 32 + lane)] != expected[test];
      }
      CHECK(wrong == 0);
    });
  }

  TEST_CASE("threads and blocks know where they are") {
    in_all_orders([] {
      std::vector<unsigned> seen(3 * 5);
      launch(nullptr, {5, 33, 0, 1, 3}, position_kernel, {seen.data()}, "position");
      CHECK(seen == std::vector<unsigned>(3 * 5, 333));
    });
  }

  TEST_CASE("several OS threads launch at once") {
    std::vector<std::thread> threads;
    std::vector<int> right(4);
    for (int& mine : right) {
      threads.emplace_back([&mine] {
        for (int repetition = 0; repetition < 5; ++repetition) {
          RowSumsCase rows;
          rows.run<64>(2);
          mine += rows.right();
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(right == std::vector<int>(4, 5));
  }

  TEST_CASE("shared memory that was never written reads as NaN") {
    float value = 0;
    launch(nullptr, {1, 1, 8}, uninitialised_kernel, {&value}, "uninitialised");
    CHECK(std::isnan(value));
  }

  TEST_CASE("threads that never meet end the launch with an error, and the next launch works") {
    in_all_orders([] {
      const auto says = [](Fault fault, const std::string& part) {
        const std::string message = message_of(fault);
        INFO(message);
        CHECK(message.rfind("kernel faulty, block (", 0) == 0);
        CHECK(message.find(part) != std::string::npos);
        RowSumsCase rows;
        rows.run<32>(1);
        CHECK(rows.right());
      };
      says(Fault::divergent_barrier, "wait in __syncthreads");
      says(Fault::early_exit, "deadlock; 2 threads exited, 126 threads wait in __syncthreads");
      says(Fault::missing_lane, "wait in __shfl_xor_sync with mask 0xffffffff");
      says(Fault::foreign_mask, "__shfl_xor_sync with mask 0x7fffffff, which leaves out the calling lane");
      says(Fault::mixed_calls, "while other lanes of the mask 0xffffffff call something else");
      says(Fault::unpaired_wait, "cluster_wait without cluster_arrive");
      says(Fault::odd_row, "ldmatrix of an address that is no multiple of 16");
    });
  }
}

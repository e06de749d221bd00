// Shared memory of other blocks, and asynchronous copies.
#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "kernels.cuh"
#include "orders.h"

using namespace sparsexmc::cuda;
using namespace sparsexmc::cuda::test;

namespace {

constexpr int threads = 64;

std::vector<int> cluster_sums(int cluster, bool leave_early = false) {
  std::vector<int> sums(8 * threads, -1);
  launch(nullptr, {8, threads, threads * sizeof(int), cluster}, cluster_sum_kernel<threads>,
         {sums.data(), cluster, leave_early}, "cluster_sum");
  return sums;
}

template <int groups_left>
std::vector<float> staged_copy(const std::vector<float>& x, int stages, int valid_stages) {
  std::vector<float> y(x.size(), -1.0f);
  launch(nullptr, {1, threads, 2 * threads * 16}, staged_copy_kernel<threads, groups_left>,
         {y.data(), x.data(), stages, valid_stages}, "staged_copy");
  return y;
}

}  // namespace

TEST_SUITE("shim: clusters and copies") {
  TEST_CASE("blocks of a cluster read each other's shared memory") {
    in_all_orders([] {
      for (const int cluster : {2, 4, 8}) {
        const std::vector<int> sums = cluster_sums(cluster);
        int wrong = 0;
        for (size_t i = 0; i < sums.size(); ++i) {
          int sum = 0;
          for (int rank = 0; rank < cluster; ++rank)
            sum = sum * 3 + 1000 * rank + threads - 1 - static_cast<int>(i % threads);
          wrong += sums[i] != sum;
        }
        CHECK(wrong == 0);
      }
    });
  }

#if !defined(__SANITIZE_THREAD__)  // which rightly reports it
  TEST_CASE("the shared memory of a block that has ended is gone") {
    const std::vector<int> early = cluster_sums(2, true);
    CHECK(early[threads] == 3 * -1 + 1000 + threads - 1);  // all ones where block 0 had its first value
  }
#endif

  TEST_CASE("staged copies arrive, and rows outside are zero") {
    in_all_orders([] {
      constexpr int stages = 5, valid_stages = 4;
      std::vector<float> x(stages * threads * 4);
      for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i + 1);
      const std::vector<float> y = staged_copy<1>(x, stages, valid_stages);
      int wrong = 0;
      for (size_t i = 0; i < y.size(); ++i) {
        const size_t stage = i / (threads * 4), from = stage * threads * 4 + (i + 4) % (threads * 4);
        wrong += y[i] != (stage < valid_stages ? x[from] : 0.0f);
      }
      CHECK(wrong == 0);
    });
  }

  TEST_CASE("a copy that nobody waited for has not happened") {
    in_all_orders([] {
      const std::vector<float> y = staged_copy<2>(std::vector<float>(3 * threads * 4, 1.0f), 3, 3);
      CHECK(std::isnan(y[0]));
    });
  }
}

// A kernel that is right, and the same with a fault: `shim_faults correct | race | block_race | overrun`. Ends with
// code 66 if the fault is found, by a sanitizer (told to use this code) or by a wrong result in one of the orders.
#include <cstdio>
#include <string>
#include <vector>

#include "kernels.cuh"

using namespace sparsexmc::cuda;
using namespace sparsexmc::cuda::test;

namespace {

constexpr int threads = 64, found = 66;

template <bool with_barrier>
bool right(size_t shared, int64_t grid = 1) {
  std::vector<int> sums(threads);
  launch(nullptr, {grid, threads, shared}, neighbours_kernel<threads, with_barrier>, {sums.data()}, "neighbours");
  bool same = true;
  for (int thread = 0; thread < threads; ++thread) {
    const int next = (thread + 1) % threads, previous = (thread + threads - 1) % threads;
    same = same && sums[static_cast<size_t>(thread)] == next * next + previous * previous;
  }
  return same;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string mode = argc == 2 ? argv[1] : "";
  constexpr size_t shared = threads * sizeof(int);
  bool all_right = true;
  for (const char* order : {"forward", "reverse", "random:1"}) {
    sparsexmc_shim_set_order(order);
    if (mode == "correct") {
      all_right = right<true>(shared) && all_right;
    } else if (mode == "race") {
      all_right = right<false>(shared) && all_right;
    } else if (mode == "block_race") {
      all_right = right<true>(shared, 2) && all_right;  // both blocks write the same places
    } else if (mode == "overrun") {
      all_right = right<true>(shared - sizeof(int)) && all_right;
    } else {
      std::fprintf(stderr, "usage: %s correct | race | block_race | overrun\n", argv[0]);
      return 1;
    }
  }
  return all_right ? 0 : found;
}

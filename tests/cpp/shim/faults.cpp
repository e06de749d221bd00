// Kernels that are right, and the same with a fault: `shim_faults correct | race | warp_race | block_race | overrun`.
// Ends with code 66 if the fault is found, by a sanitizer (told to use this code) or by a wrong result in one of the
// orders.
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "kernels.cuh"

using namespace sparsexmc::cuda;
using namespace sparsexmc::cuda::test;

namespace {

constexpr int threads = 64, found = 66;
constexpr size_t shared = threads * sizeof(int);

template <bool with_barrier>
bool right_neighbours(size_t bytes = shared, int64_t grid = 1) {
  std::vector<int> sums(threads);
  launch(nullptr, {grid, threads, bytes}, neighbours_kernel<threads, with_barrier>, {sums.data()}, "neighbours");
  bool same = true;
  for (int thread = 0; thread < threads; ++thread) {
    const int next = (thread + 1) % threads, previous = (thread + threads - 1) % threads;
    same = same && sums[static_cast<size_t>(thread)] == next * next + previous * previous;
  }
  return same;
}

template <bool with_barrier>
bool right_turns() {
  std::vector<int> sums(32);
  launch(nullptr, {1, 32, 32 * sizeof(int)}, turns_kernel<with_barrier>, {sums.data()}, "turns");
  bool same = true;
  for (int lane = 0; lane < 32; ++lane) {
    same = same && sums[static_cast<size_t>(lane)] == 3 * ((lane + 1) % 32 + (lane + 31) % 32) + 600;
  }
  return same;
}

bool right(const std::string& mode) {
  if (mode == "correct") return right_neighbours<true>() && right_turns<true>();
  if (mode == "race") return right_neighbours<false>();
  if (mode == "warp_race") return right_turns<false>();
  if (mode == "block_race") return right_neighbours<true>(shared, 2);  // both blocks write the same places
  if (mode == "overrun") return right_neighbours<true>(shared - sizeof(int));
  std::fprintf(stderr, "unknown fault '%s'\n", mode.c_str());
  std::exit(1);
}

}  // namespace

int main(int argc, char** argv) {
  bool all_right = true;
  for (const char* order : {"forward", "reverse", "random:1"}) {
    sparsexmc_shim_set_order(order);
    all_right = right(argc == 2 ? argv[1] : "") && all_right;
  }
  return all_right ? 0 : found;
}

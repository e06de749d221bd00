// Kernels that use everything that device_compat.h offers. They run on the host shim here, and nvcc compiles them too
// (nvcc_build.cu): the source is one.
#pragma once

#include "cuda/device_compat.h"

namespace sparsexmc::cuda::test {

/// Row sums by tiles through shared memory, with counts by atomics: barriers, shuffles, ballots, block sums.
struct RowSums {
  double* sums;              // [rows]
  unsigned* positive_count;  // [1] elements above zero
  unsigned* largest;         // [1] bits of the largest |sum over a warp's part of a tile|
  const float* x;            // [rows, columns]
  int64_t rows, columns;
};
template <int threads>
SPARSEXMC_KERNEL(threads, 1)
row_sums_kernel(const RowSums p) {
  double* scratch = reinterpret_cast<double*>(shared_memory());
  float* tile = reinterpret_cast<float*>(scratch + threads / 32);
  const int thread = static_cast<int>(threadIdx.x);
  for (int64_t row = blockIdx.x; row < p.rows; row += gridDim.x) {
    double sum = 0;
    for (int64_t start = 0; start < p.columns; start += threads) {
      const int64_t column = start + thread;
      tile[thread] = column < p.columns ? p.x[row * p.columns + column] : 0.0f;
      const unsigned positive = __ballot_sync(full_warp, tile[thread] > 0);
      if (lane() == 0) atomicAdd(p.positive_count, static_cast<unsigned>(__popc(positive)));
      __syncthreads();
      const float mirrored = tile[threads - 1 - thread];  // from another warp
      sum += static_cast<double>(mirrored);
      const float part = fabsf(warp_sum(mirrored));
      if (lane() == 0) atomicMax(p.largest, __float_as_uint(part));
      __syncthreads();
    }
    sum = block_sum(sum, scratch);
    if (thread == 0) p.sums[row] = sum;
  }
}
constexpr size_t row_sums_shared(int threads) {
  return static_cast<size_t>(threads) * 4 + static_cast<size_t>(threads) / 4;
}

/// One warp: what every other kind of exchange gives, and that of a part of the lanes.
struct Exchange {
  int* results;  // [8, 32]
};
template <int threads = 32>
SPARSEXMC_KERNEL(threads, 1)
exchange_kernel(const Exchange p) {
  const int value = 100 + lane();
  p.results[0 * 32 + lane()] = __shfl_sync(full_warp, value, lane() + 5);
  p.results[1 * 32 + lane()] = __shfl_up_sync(full_warp, value, 3);
  p.results[2 * 32 + lane()] = __shfl_down_sync(full_warp, value, 3);
  p.results[3 * 32 + lane()] = static_cast<int>(__shfl_xor_sync(full_warp, static_cast<double>(value), 7));
  p.results[4 * 32 + lane()] = __any_sync(full_warp, lane() == 9) + 2 * __all_sync(full_warp, lane() < 31);
  // Halves of a warp go their own ways.
  if (lane() < 16) {
    p.results[5 * 32 + lane()] = __shfl_xor_sync(0x0000FFFFu, value, 1);
    __syncwarp(0x0000FFFFu);
  } else {
    p.results[5 * 32 + lane()] = __shfl_xor_sync(0xFFFF0000u, value, 2) + __shfl_xor_sync(0xFFFF0000u, value, 4);
  }
  p.results[6 * 32 + lane()] = static_cast<int>(__shfl_sync(full_warp, 1ll << lane(), 30));
  p.results[7 * 32 + lane()] =
      static_cast<int>(atomicCAS(reinterpret_cast<unsigned*>(p.results + 7 * 32 + lane()), 7u, 1u));
}

/// c = a b for a 16 x 8 tile, with a and b stored either way round.
struct SmallProduct {
  float* c;           // [16, 8]
  const bfloat16* a;  // [16, depth], or [depth, 16] if transposed
  const bfloat16* b;  // [depth, 8], or [8, depth] if transposed
  int depth;          // a multiple of 16
};
template <bool a_transposed, bool b_transposed>
SPARSEXMC_KERNEL(32, 1)
small_product_kernel(const SmallProduct p) {
  bfloat16* a = reinterpret_cast<bfloat16*>(shared_memory());
  bfloat16* b = a + 16 * 16;
  float c[4] = {0, 0, 0, 0};
  for (int k = 0; k < p.depth; k += 16) {
    for (int i = lane(); i < 256; i += 32) {
      const int row = i / 16, column = i % 16;
      a[i] = a_transposed ? p.a[(k + row) * 16 + column] : p.a[row * p.depth + k + column];
    }
    for (int i = lane(); i < 128; i += 32) {
      b[i] = b_transposed ? p.b[i / 16 * p.depth + k + i % 16] : p.b[(k + i / 8) * 8 + i % 8];
    }
    __syncwarp();
    // Matrices 0 to 3 of a: rows 0-7 and 8-15 of its left half, then of its right half.
    const int matrix = lane() / 8, row = lane() % 8, down = matrix % 2 * 8, right = matrix / 2 * 8;
    uint32_t a_fragment[4], b_fragment[2];
    if (a_transposed) {
      ldmatrix_x4_trans(a_fragment, a + (right + row) * 16 + down);
    } else {
      ldmatrix_x4(a_fragment, a + (down + row) * 16 + right);
    }
    if (b_transposed) {
      ldmatrix_x2(b_fragment, b + row * 16 + down);
    } else {
      ldmatrix_x2_trans(b_fragment, b + (down + row) * 8);
    }
    mma_bf16(c, a_fragment, b_fragment);
    __syncwarp();
  }
  for (int i = 0; i < 4; ++i) p.c[(lane() / 4 + i / 2 * 8) * 8 + lane() % 4 * 2 + i % 2] = c[i];
}

/// The registers that ldmatrix gives for 32 rows of 8 elements (four matrices one after the other).
struct Fragments {
  uint32_t* registers;       // [4 (x4, x4 trans, x2, x2 trans), 32, 4]
  const uint16_t* elements;  // [32, 8]
};
template <int threads = 32>
SPARSEXMC_KERNEL(threads, 1)
fragments_kernel(const Fragments p) {
  uint16_t* rows = reinterpret_cast<uint16_t*>(shared_memory());
  for (int i = lane(); i < 256; i += 32) rows[i] = p.elements[i];
  __syncwarp();
  uint32_t four[2][4], two[2][2];
  ldmatrix_x4(four[0], rows + lane() * 8);
  ldmatrix_x4_trans(four[1], rows + lane() * 8);
  ldmatrix_x2(two[0], rows + lane() % 16 * 8);
  ldmatrix_x2_trans(two[1], rows + lane() % 16 * 8);
  for (int form = 0; form < 2; ++form) {
    for (int i = 0; i < 4; ++i) p.registers[(form * 32 + lane()) * 4 + i] = four[form][i];
    for (int i = 0; i < 2; ++i) p.registers[((2 + form) * 32 + lane()) * 4 + i] = two[form][i];
  }
}

/// Every block of a cluster fills its shared memory, and reads that of all.
struct ClusterSum {
  int* sums;  // [blocks, threads]
  int cluster;
  bool leave_early;  // the first block does not wait for its readers, who come late
};
template <int threads>
SPARSEXMC_KERNEL(threads, 1)
cluster_sum_kernel(const ClusterSum p) {
  int* mine = reinterpret_cast<int*>(shared_memory());
  const int thread = static_cast<int>(threadIdx.x);
  mine[thread] = 1000 * cluster_rank() + thread;
  cluster_arrive();
  cluster_wait();
  if (p.leave_early && cluster_rank() == 0) return;
  int sum = 0;
  for (int rank = 0; rank < p.cluster; ++rank) sum = sum * 3 + cluster_map(mine, rank)[threads - 1 - thread];
  p.sums[int64_t{blockIdx.x} * threads + thread] = sum;
  if (p.leave_early) return;
  cluster_arrive();
  cluster_wait();
}

/// Rows of 16 bytes through two stages of shared memory. groups_left: 1 is right, 2 forgets to wait for the stage in
/// use.
struct StagedCopy {
  float* y;        // [stages, threads, 4]
  const float* x;  // the same
  int stages, valid_stages;
};
template <int threads, int groups_left>
SPARSEXMC_KERNEL(threads, 1)
staged_copy_kernel(const StagedCopy p) {
  float4* stage = reinterpret_cast<float4*>(shared_memory());  // [2, threads]
  const float4* x = reinterpret_cast<const float4*>(p.x);
  const int thread = static_cast<int>(threadIdx.x);
  copy_async_16(stage + thread, x + thread);
  copy_async_commit();
  for (int s = 0; s < p.stages; ++s) {
    const int next = s + 1;
    if (next < p.stages) {
      copy_async_16_or_zero(stage + next % 2 * threads + thread, x + next * threads + thread, next < p.valid_stages);
    }
    copy_async_commit();
    copy_async_wait<groups_left>();
    __syncthreads();
    reinterpret_cast<float4*>(p.y)[s * threads + thread] = stage[s % 2 * threads + (thread + 1) % threads];
    __syncthreads();
  }
}

/// Neighbours through shared memory; without the barrier, a race.
struct Neighbours {
  int* sums;  // [threads]
};
template <int threads, bool with_barrier>
SPARSEXMC_KERNEL(threads, 1)
neighbours_kernel(const Neighbours p) {
  int* values = reinterpret_cast<int*>(shared_memory());
  const int thread = static_cast<int>(threadIdx.x);
  values[thread] = thread * thread;
  if (with_barrier) __syncthreads();
  p.sums[thread] = values[(thread + 1) % threads] + values[(thread + threads - 1) % threads];
}

/// The lanes of a warp read each other and then write; without the barrier in between, a race.
struct Turns {
  int* sums;  // [32]
};
template <bool with_barrier>
SPARSEXMC_KERNEL(32, 1)
turns_kernel(const Turns p) {
  int* values = reinterpret_cast<int*>(shared_memory());
  values[lane()] = lane();
  __syncwarp();
  int sum = 0;
  for (int turn = 0; turn < 3; ++turn) {
    sum += values[(lane() + 1) % 32] + values[(lane() + 31) % 32];
    if (with_barrier) __syncwarp();
    values[lane()] += 100;
    __syncwarp();
  }
  p.sums[lane()] = sum;
}

}  // namespace sparsexmc::cuda::test

// Fragment layouts: PTX ISA, "Matrix fragments for mma.m16n8k16 with floating point type" and "ldmatrix".
#include "warp_matrix_shim.h"

#include <bit>
#include <cstring>

#include "intrinsics.h"

namespace sparsexmc::shim {

namespace {

struct Load {
  uint32_t* registers;
  uint16_t row[8];
};

template <int count, bool transposed>
SPARSEXMC_SHIM_HARNESS void combine_load(void* const* arguments, uint32_t) {
  for (int lane = 0; lane < 32; ++lane) {
    uint32_t* registers = static_cast<const Load*>(arguments[lane])->registers;
    const int group = lane / 4, pair = lane % 4 * 2;
    for (int matrix = 0; matrix < count; ++matrix) {
      const auto element = [&](int row, int column) __attribute__((always_inline)) {
        return uint32_t{static_cast<const Load*>(arguments[8 * matrix + row])->row[column]};
      };
      registers[matrix] = transposed ? element(pair, group) | element(pair + 1, group) << 16
                                     : element(group, pair) | element(group, pair + 1) << 16;
    }
  }
}

struct Product {
  float* c;
  const uint32_t *a, *b;
};

SPARSEXMC_SHIM_HARNESS void unpack(uint32_t bits, float& low, float& high) {
  low = __builtin_bit_cast(float, bits << 16);
  high = __builtin_bit_cast(float, bits & 0xFFFF0000u);
}

SPARSEXMC_SHIM_HARNESS void combine_product(void* const* arguments, uint32_t) {
  float a[16][16], b[16][8], c[16][8];
  for (int lane = 0; lane < 32; ++lane) {
    const Product& mine = *static_cast<const Product*>(arguments[lane]);
    const int group = lane / 4, pair = lane % 4 * 2;
    for (int half = 0; half < 2; ++half) {
      const int row = group + 8 * half;
      unpack(mine.a[half], a[row][pair], a[row][pair + 1]);
      unpack(mine.a[half + 2], a[row][pair + 8], a[row][pair + 9]);
      unpack(mine.b[half], b[pair + 8 * half][group], b[pair + 1 + 8 * half][group]);
      c[row][pair] = mine.c[2 * half];
      c[row][pair + 1] = mine.c[2 * half + 1];
    }
  }
  for (int row = 0; row < 16; ++row) {
    for (int k = 0; k < 16; ++k) {
      for (int column = 0; column < 8; ++column) c[row][column] += a[row][k] * b[k][column];
    }
  }
  for (int lane = 0; lane < 32; ++lane) {
    float* mine = static_cast<const Product*>(arguments[lane])->c;
    const int group = lane / 4, pair = lane % 4 * 2;
    for (int half = 0; half < 2; ++half) {
      mine[2 * half] = c[group + 8 * half][pair];
      mine[2 * half + 1] = c[group + 8 * half][pair + 1];
    }
  }
}

/// Every lane reads its own row, where the sanitizers see it.
void read_row(Load& mine, const void* row) { std::memcpy(mine.row, row, sizeof(mine.row)); }

}  // namespace

void load_matrices(uint32_t* registers, int count, bool transposed, const void* row) {
  constexpr Combine combines[2][2] = {{combine_load<2, false>, combine_load<2, true>},
                                      {combine_load<4, false>, combine_load<4, true>}};
  Load mine;
  mine.registers = registers;
  if (lane_index() < 8 * count) {
    check_shared_row(row, "ldmatrix");
    read_row(mine, row);
  }
  warp_collective(~0u, combines[count == 4][transposed], &mine, "ldmatrix");
}

void multiply_bf16(float* c, const uint32_t* a, const uint32_t* b) {
  Product mine{c, a, b};
  warp_collective(~0u, combine_product, &mine, "mma");
}

}  // namespace sparsexmc::shim

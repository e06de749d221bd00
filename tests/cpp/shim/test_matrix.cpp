// Tensor-core operations: the layout of fragments as the PTX manual draws it, and products in all forms.
#include <doctest/doctest.h>

#include <cstdint>
#include <limits>
#include <vector>

#include "kernels.cuh"
#include "orders.h"

using sparsexmc::bfloat16;
using namespace sparsexmc::cuda;
using namespace sparsexmc::cuda::test;

namespace {

constexpr int depth = 48;

/// Small multiples of 1/4: products and sums are exact.
float element(int row, int column) { return static_cast<float>((row * 13 + column * 7) % 23 - 11) * 0.25f; }

template <bool a_transposed, bool b_transposed>
int wrong_products() {
  std::vector<bfloat16> a(16 * depth), b(8 * depth);
  const auto put = [](std::vector<bfloat16>& to, int at, float value) {
    to[static_cast<size_t>(at)] = to_bfloat16(value);
  };
  for (int k = 0; k < depth; ++k) {
    for (int row = 0; row < 16; ++row) put(a, a_transposed ? k * 16 + row : row * depth + k, element(row, k));
    for (int column = 0; column < 8; ++column) {
      put(b, b_transposed ? column * depth + k : k * 8 + column, element(k + 5, column));
    }
  }
  std::vector<float> c(16 * 8);
  launch(nullptr, {1, 32, (256 + 128) * sizeof(bfloat16)}, small_product_kernel<a_transposed, b_transposed>,
         {c.data(), a.data(), b.data(), depth}, "small_product");
  int wrong = 0;
  for (int row = 0; row < 16; ++row) {
    for (int column = 0; column < 8; ++column) {
      float sum = 0;
      for (int k = 0; k < depth; ++k) sum += element(row, k) * element(k + 5, column);
      wrong += c[static_cast<size_t>(row * 8 + column)] != sum;
    }
  }
  return wrong;
}

}  // namespace

TEST_SUITE("shim: matrix") {
  TEST_CASE("products of 16 x 8 tiles, both operands stored either way round") {
    in_all_orders([] {
      CHECK(wrong_products<false, false>() == 0);
      CHECK(wrong_products<false, true>() == 0);
      CHECK(wrong_products<true, false>() == 0);
      CHECK(wrong_products<true, true>() == 0);
    });
  }

  TEST_CASE("ldmatrix gives lane l elements 2 (l % 4) and the next of row l / 4, or of that column") {
    std::vector<uint16_t> elements(32 * 8);
    for (size_t i = 0; i < elements.size(); ++i) elements[i] = static_cast<uint16_t>(i);
    std::vector<uint32_t> registers(4 * 32 * 4);
    launch(nullptr, {1, 32, 32 * 16}, fragments_kernel<>, {registers.data(), elements.data()}, "fragments");
    int wrong = 0;
    for (uint32_t form = 0; form < 4; ++form) {
      for (uint32_t lane = 0; lane < 32; ++lane) {
        for (uint32_t matrix = 0; matrix < (form < 2 ? 4 : 2); ++matrix) {
          const uint32_t first = lane / 4, second = lane % 4 * 2, start = matrix * 64;
          const uint32_t low = form % 2 == 0 ? first * 8 + second : second * 8 + first;
          const uint32_t high = low + (form % 2 == 0 ? 1 : 8);
          wrong += registers[(form * 32 + lane) * 4 + matrix] != ((start + low) | (start + high) << 16);
        }
      }
    }
    CHECK(wrong == 0);
  }

  TEST_CASE("bfloat16 rounds to nearest even and keeps NaN and infinities") {
    const auto bits = [](float x) { return to_bfloat16(x).bits; };
    CHECK(bits(1.0f) == 0x3F80);
    CHECK(bits(1.0f + 0x1p-8f) == 0x3F80);            // a tie goes down to even
    CHECK(bits(1.0f + 0x1p-7f + 0x1p-8f) == 0x3F82);  // and up to even
    CHECK(bits(1.0f + 0x1p-8f + 0x1p-20f) == 0x3F81);
    CHECK(bits(-0.0f) == 0x8000);
    CHECK(bits(0x1p-133f) == 0x0001);  // subnormal
    CHECK(bits(std::numeric_limits<float>::max()) == 0x7F80);
    CHECK(bits(std::numeric_limits<float>::infinity()) == 0x7F80);
    CHECK(bits(std::numeric_limits<float>::quiet_NaN()) == 0x7FFF);
    CHECK(to_float({0xC040}) == -3.0f);
    CHECK(pack_bfloat16(1.0f, -2.0f) == 0xC0003F80u);
  }
}

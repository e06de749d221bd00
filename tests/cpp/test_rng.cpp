#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <vector>

#include "rng.h"

using namespace sparsexmc;
using rng::Purpose;

namespace {

std::array<uint32_t, 4> words(const rng::Block& block) {
  return {block.word[0], block.word[1], block.word[2], block.word[3]};
}

using Words = std::array<uint32_t, 4>;

}  // namespace

TEST_SUITE("rng") {
  // Known answers of Random123's kat_vectors (Salmon et al., SC 2011).
  TEST_CASE("philox gives the known answers") {
    CHECK(words(rng::philox(0, 0, 0, 0, 0)) == Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
    CHECK(words(rng::philox(~uint64_t{0}, ~0u, ~0u, ~0u, ~0u)) ==
          Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
    const uint64_t key = uint64_t{0x299f31d0} << 32 | 0xa4093822;
    CHECK(words(rng::philox(key, 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344)) ==
          Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
  }

  TEST_CASE("every part of the key makes a stream of its own") {
    std::set<Words> seen;
    int draws = 0;
    const auto add = [&](uint64_t seed, Purpose purpose, uint64_t step, uint64_t row, uint32_t slot_block) {
      seen.insert(words(rng::draw(seed, purpose, step, row, slot_block)));
      ++draws;
    };
    // Beyond 32 bits too: rows and steps share the high word of the counter with the purpose.
    const std::vector<uint64_t> values = {0, 1, 255, 256, 65536, uint64_t{1} << 32, uint64_t{1} << 39};
    for (const Purpose purpose : {Purpose::weights, Purpose::indices, Purpose::dropout, Purpose::grow,
                                  Purpose::hidden_weights, Purpose::shuffle, Purpose::rounding})
      for (const uint64_t step : values)
        for (const uint64_t row : values)
          for (const uint32_t slot_block : {0u, 1u, 255u, ~0u})
            for (const uint64_t seed : {uint64_t{0}, uint64_t{1}, uint64_t{1} << 32})
              add(seed, purpose, step, row, slot_block);
    CHECK(seen.size() == static_cast<size_t>(draws));
  }

  TEST_CASE("draw_one is the slot's word of its block") {
    for (const uint64_t slot : {0, 1, 2, 3, 4, 7, 1000}) {
      const rng::Block block = rng::draw(5, Purpose::grow, 7, 11, static_cast<uint32_t>(slot / 4));
      CHECK(rng::draw_one(5, Purpose::grow, 7, 11, slot) == block.word[slot % 4]);
    }
  }

  TEST_CASE("uniform numbers are uniform and stay below 1") {
    constexpr int count = 1 << 16, bins = 64;
    std::array<int, bins> histogram{};
    double sum = 0;
    for (int slot = 0; slot < count; ++slot) {
      const float u = rng::uniform(rng::draw_one(3, Purpose::weights, 0, 0, static_cast<uint64_t>(slot)));
      REQUIRE(u >= 0.0f);
      REQUIRE(u < 1.0f);
      ++histogram[static_cast<size_t>(u * bins)];
      sum += u;
    }
    // Six standard errors: 1 / sqrt(12 n) of the mean, sqrt(2 (bins - 1)) of chi-squared. The stream is fixed.
    CHECK(std::abs(sum / count - 0.5) < 6.0 / std::sqrt(12.0 * count));
    double chi_squared = 0;
    const double expected = static_cast<double>(count) / bins;
    for (const int n : histogram) chi_squared += (n - expected) * (n - expected) / expected;
    CHECK(std::abs(chi_squared - (bins - 1)) < 6.0 * std::sqrt(2.0 * (bins - 1)));
    CHECK(rng::uniform(0) == 0.0f);
    CHECK(rng::uniform(~0u) == 1.0f - 0x1p-24f);
  }

  TEST_CASE("below covers its range evenly") {
    constexpr uint32_t n = 7;
    std::array<int, n> histogram{};
    for (uint64_t slot = 0; slot < 7000; ++slot)
      ++histogram.at(rng::below(rng::draw_one(1, Purpose::grow, 2, 3, slot), n));
    CHECK(*std::min_element(histogram.begin(), histogram.end()) > 800);
    CHECK(*std::max_element(histogram.begin(), histogram.end()) < 1200);
    CHECK(rng::below(0, n) == 0);
    CHECK(rng::below(~0u, n) == n - 1);
    CHECK(rng::below(~0u, 1) == 0);
    CHECK(rng::below(~0u, ~0u) == ~0u - 1);
  }
}

// Counter-based random numbers: Philox4x32-10 (Salmon et al., SC 2011), keyed by (seed, purpose, step, row, slot).
// The same stream on every device, thread count and sharding.
#pragma once

#include <cstdint>

#include "integers.h"

namespace sparsexmc::rng {

/// The purpose of a number; part of the key, so that no two uses share a stream. Values are fixed by the checkpoints.
enum class Purpose : uint32_t {
  weights = 1,
  indices = 2,
  dropout = 3,
  grow = 4,
  hidden_weights = 5,
  shuffle = 6,
  rounding = 7
};

struct Block {
  uint32_t word[4];
};

/// Philox4x32-10 of a 128-bit counter under a 64-bit key.
SPARSEXMC_HD Block philox(uint64_t key, uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3) {
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53u} * c0, p1 = uint64_t{0xCD9E8D57u} * c2;
    const uint32_t n0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ k0, n2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c1 = static_cast<uint32_t>(p1);
    c3 = static_cast<uint32_t>(p0);
    c0 = n0;
    c2 = n2;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return Block{{c0, c1, c2, c3}};
}

/// Four numbers for slots 4 * slot_block .. 4 * slot_block + 3. `row` < 2^40, `step` < 2^40, `slot_block` < 2^32.
SPARSEXMC_HD Block draw(uint64_t seed, Purpose purpose, uint64_t step, uint64_t row, uint32_t slot_block) {
  const uint32_t high = static_cast<uint32_t>(purpose) << 16 | static_cast<uint32_t>(row >> 32 & 0xFF) << 8 |
                        static_cast<uint32_t>(step >> 32 & 0xFF);
  return philox(seed, slot_block, static_cast<uint32_t>(row), static_cast<uint32_t>(step), high);
}

/// The one number of a slot.
SPARSEXMC_HD uint32_t draw_one(uint64_t seed, Purpose purpose, uint64_t step, uint64_t row, uint64_t slot) {
  return draw(seed, purpose, step, row, static_cast<uint32_t>(slot >> 2)).word[slot & 3];
}

/// 24-bit uniform in [0, 1).
SPARSEXMC_HD float uniform(uint32_t word) { return static_cast<float>(word >> 8) * 0x1p-24f; }

/// Uniform in [-bound, bound).
SPARSEXMC_HD float symmetric(uint32_t word, float bound) { return bound * (2.0f * uniform(word) - 1.0f); }

/// Uniform integer in [0, n), n < 2^32 (Lemire's multiply-shift; the bias is below n / 2^32).
SPARSEXMC_HD uint32_t below(uint32_t word, uint32_t n) { return static_cast<uint32_t>(uint64_t{word} * n >> 32); }

}  // namespace sparsexmc::rng

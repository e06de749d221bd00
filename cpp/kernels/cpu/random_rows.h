// Random words for many rows at once: written so that the compiler turns the rounds of Philox into vector code.
#pragma once

#include "fp32.h"
#include "rng.h"

namespace sparsexmc::cpu::SPARSEXMC_ISA {

/// words[j][i] = the number of slot 4 * slot_block + j of row first_row + i, for i < count <= strip_columns.
inline void draw_rows(uint32_t (&words)[4][strip_columns], uint64_t seed, rng::Purpose purpose, uint64_t step,
                      int64_t first_row, int64_t count, int64_t slot_block) {
  for (int64_t i = 0; i < count; ++i) {
    const rng::Block block =
        rng::draw(seed, purpose, step, static_cast<uint64_t>(first_row + i), static_cast<uint32_t>(slot_block));
    for (int j = 0; j < 4; ++j) words[j][i] = block.word[j];
  }
}

}  // namespace sparsexmc::cpu::SPARSEXMC_ISA

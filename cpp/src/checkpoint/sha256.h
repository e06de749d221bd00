// Streaming SHA-256 (FIPS 180-4).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace sparsexmc::checkpoint {

class Sha256 {
 public:
  using Compress = void (*)(uint32_t state[8], const uint8_t* blocks, size_t num_blocks);

  /// @param use_hardware take the SHA instructions of the processor where it has them
  explicit Sha256(bool use_hardware = true);

  void update(const void* data, size_t bytes);
  /// The digest as 64 lower-case hexadecimal digits. Ends the stream: no update() may follow.
  std::string hex_digest();

 private:
  Compress compress_;
  std::array<uint32_t, 8> state_;
  std::array<uint8_t, 64> block_;  // the first length_ % 64 bytes wait for the rest of their block
  uint64_t length_ = 0;            // bytes so far
};

/// The digest of a whole string.
std::string sha256(const std::string& text);

}  // namespace sparsexmc::checkpoint

// The safetensors format: u64 little-endian length of the header; the header, JSON with name -> dtype, shape and
// offsets; then the data of all tensors without gaps (https://huggingface.co/docs/safetensors).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "checkpoint/file.h"
#include "sparsexmc/classifier.h"

namespace sparsexmc::checkpoint {

/// Writes a file tensor by tensor.
class SafetensorsWriter {
 public:
  /// Writes the header. Wider dtypes come first, which aligns every tensor to its dtype.
  SafetensorsWriter(OutputFile& file, std::vector<NamedTensor> tensors);

  /// The tensors in the order in which write() takes them.
  const std::vector<NamedTensor>& tensors() const { return tensors_; }
  /// Writes the data of the next tensor.
  void write(const void* data);

 private:
  OutputFile& file_;
  std::vector<NamedTensor> tensors_;
  size_t next_ = 0;
};

/// Reads a file whose every claim has been checked: header length, JSON, dtypes, shapes, offsets, no gaps or overlaps.
class SafetensorsReader {
 public:
  /// @throws CheckpointError if anything about the header does not fit the file
  explicit SafetensorsReader(const InputFile& file);

  /// In the order of the file.
  const std::vector<NamedTensor>& tensors() const { return tensors_; }
  /// Copies tensors()[i] to `out`.
  void read(size_t i, void* out) const;

 private:
  const InputFile& file_;
  std::vector<NamedTensor> tensors_;
  std::vector<uint64_t> offsets_;  // in the file, one per tensor
};

}  // namespace sparsexmc::checkpoint

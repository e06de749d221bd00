// Numbers per label that only the host reads: in the pool on the CPU, where the plan shows them, else beside it.
#pragma once

#include <vector>

#include "layers/buffers.h"

namespace sparsexmc {

class HostTable {
 public:
  /// @param name of the plan's entry on the CPU
  HostTable(const std::string& name, int64_t size, const Context& context, const Buffers& buffers)
      : size_(size), data_(buffers.get<uint32_t>(name)) {
    if (context.device().kind == DeviceKind::cpu) return;
    own_.resize(static_cast<size_t>(size));
    data_ = own_.data();
  }
  HostTable(const HostTable&) = delete;
  HostTable& operator=(const HostTable&) = delete;

  int64_t size() const { return size_; }
  uint32_t* data() { return data_; }
  const uint32_t* data() const { return data_; }

 private:
  int64_t size_;
  std::vector<uint32_t> own_;
  uint32_t* data_;
};

}  // namespace sparsexmc

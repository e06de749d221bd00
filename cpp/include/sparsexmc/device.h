// Where things run: a device and a stream on it.
#pragma once

#include <string>

#include "sparsexmc/export.h"

namespace sparsexmc {

enum class DeviceKind { cpu, cuda };

struct SPARSEXMC_API Device {
  DeviceKind kind = DeviceKind::cpu;
  int index = 0;

  /// Parses "cpu", "cuda" or "cuda:<index>". "auto" takes a usable GPU, else the CPU.
  /// @throws ArgumentError for anything else; DeviceError if CUDA is asked for and cannot be used.
  static Device parse(const std::string& name);

  std::string name() const;
  bool operator==(const Device&) const = default;
};

/// A device queue. The handle is a cudaStream_t on CUDA and null on the CPU, where calls run at once.
struct Stream {
  void* handle = nullptr;
};

/// Why CUDA cannot be used here, in one line; empty if it can.
SPARSEXMC_API std::string cuda_unavailable_reason();

/// Which of the compiled images of the CUDA kernels card `index` runs: "sm_90" for machine code, "compute_90" for PTX
/// that the driver compiles at first use; empty if the card runs none, or if the build did not name what it is for.
SPARSEXMC_API std::string cuda_kernel_image(int index);

/// The instruction set whose kernels run on this CPU, e.g. "x86-64-v3 (AVX2)"; SPARSEXMC_CPU_ISA overrides the choice.
SPARSEXMC_API std::string cpu_level();

/// Do the kernels use matrix units of this CPU (AMX), for which products of bfloat16 are many times faster?
SPARSEXMC_API bool cpu_matrix_units();

}  // namespace sparsexmc

// The table of this instruction set.
#include "table.h"

#define SPARSEXMC_KERNEL_ENTRY(name, Parameters) name,
#define SPARSEXMC_SIZES_ENTRY(Result, name, parameters, names) name,

namespace sparsexmc::cpu::SPARSEXMC_ISA {

const KernelTable& table() {
  static const KernelTable functions = {SPARSEXMC_CPU_KERNELS(SPARSEXMC_KERNEL_ENTRY, SPARSEXMC_SIZES_ENTRY)};
  return functions;
}

}  // namespace sparsexmc::cpu::SPARSEXMC_ISA

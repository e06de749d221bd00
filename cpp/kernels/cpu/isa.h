// The instruction set in use.
#pragma once

#include "table.h"

namespace sparsexmc::cpu {

/// The best set that this CPU has, or the one that SPARSEXMC_CPU_ISA names; chosen once.
/// @throws ArgumentError if the variable names an unknown set or one that this CPU lacks.
const KernelTable& kernel_table();
const char* isa_name();

}  // namespace sparsexmc::cpu

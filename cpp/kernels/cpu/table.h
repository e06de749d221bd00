// The kernels of one instruction set, as a table of functions that dispatch.cpp chooses from.
#pragma once

#include "kernel_list.h"

#define SPARSEXMC_KERNEL_POINTER(name, Parameters) void (*name)(ThreadPool&, const kernels::Parameters&);
#define SPARSEXMC_SIZES_POINTER(Result, name, parameters, names) Result(*name) parameters;
#define SPARSEXMC_KERNEL_FUNCTION(name, Parameters) void name(ThreadPool&, const kernels::Parameters&);
#define SPARSEXMC_SIZES_FUNCTION(Result, name, parameters, names) Result name parameters;

namespace sparsexmc::cpu {

struct KernelTable {
  SPARSEXMC_CPU_KERNELS(SPARSEXMC_KERNEL_POINTER, SPARSEXMC_SIZES_POINTER)
};

#if defined(SPARSEXMC_ISA)
namespace SPARSEXMC_ISA {
SPARSEXMC_CPU_KERNELS(SPARSEXMC_KERNEL_FUNCTION, SPARSEXMC_SIZES_FUNCTION)
const KernelTable& table();
}  // namespace SPARSEXMC_ISA
#endif

}  // namespace sparsexmc::cpu

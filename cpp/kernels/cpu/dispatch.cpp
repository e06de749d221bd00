// Chooses the instruction set at run time and forwards the kernels to it.
#include <cstdlib>
#include <string>

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__x86_64__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "fp32.h"
#include "isa.h"
#include "sparsexmc/device.h"
#include "sparsexmc/error.h"

namespace sparsexmc::cpu {

#if defined(__x86_64__)
namespace isa_v2 {
const KernelTable& table();
}
namespace isa_v3 {
const KernelTable& table();
}
namespace isa_v4 {
const KernelTable& table();
}
namespace isa_amx {
const KernelTable& table();
}
#elif defined(__aarch64__)
namespace isa_neon {
const KernelTable& table();
}
#else
namespace isa_generic {
const KernelTable& table();
}
#endif

namespace {

struct Isa {
  const char* name;
  bool available;
  const KernelTable& (*table)();
};

#if defined(__x86_64__)
/// Whether the CPU has matrix units for int8 and bf16, the system saves their registers, and this process may use them.
/// Linux wants to be asked, since their state makes signal frames larger.
bool matrix_units() {
#if defined(__linux__) && defined(SYS_arch_prctl)
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned amx = 1u << 22 | 1u << 24 | 1u << 25;  // bf16, tile, int8
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0 || (d & amx) != amx) return false;
  if (__get_cpuid_count(7, 1, &a, &b, &c, &d) == 0 || (a & 1u << 5) == 0) return false;  // avx512_bf16
  constexpr long request_permission = 0x1023, tile_data = 18;                            // ARCH_REQ_XCOMP_PERM
  return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
#else
  return false;
#endif
}
#endif

Isa choose() {
#if defined(__x86_64__)
  const bool v2 = __builtin_cpu_supports("x86-64-v2");
  const bool v3 = __builtin_cpu_supports("x86-64-v3");
  const bool v4 = __builtin_cpu_supports("x86-64-v4");
  const Isa sets[] = {{"amx", v4 && matrix_units(), isa_amx::table},
                      {"v4", v4, isa_v4::table},
                      {"v3", v3, isa_v3::table},
                      {"v2", v2, isa_v2::table}};
#elif defined(__aarch64__)
  const Isa sets[] = {{"neon", true, isa_neon::table}};
#else
  const Isa sets[] = {{"generic", true, isa_generic::table}};
#endif
  const char* wanted = std::getenv("SPARSEXMC_CPU_ISA");
  std::string names;
  for (const Isa& isa : sets) {
    if (wanted != nullptr && *wanted != '\0') {
      if (std::string(wanted) != isa.name) {
        names += std::string(names.empty() ? "" : ", ") + isa.name;
        continue;
      }
      if (!isa.available)
        throw ArgumentError(std::string("SPARSEXMC_CPU_ISA is ") + wanted +
                            ", which this CPU lacks; unset the variable");
      return isa;
    }
    if (isa.available) return isa;
  }
  if (wanted != nullptr && *wanted != '\0')
    throw ArgumentError(std::string("SPARSEXMC_CPU_ISA is ") + wanted + "; this build knows " + names);
  throw DeviceError("this CPU lacks SSE4.2 and POPCNT, the least that sparsexmc needs (x86-64-v2)");
}

const Isa& chosen() {
  static const Isa isa = choose();
  return isa;
}

}  // namespace

const KernelTable& kernel_table() { return chosen().table(); }
const char* isa_name() { return chosen().name; }

}  // namespace sparsexmc::cpu

namespace sparsexmc {

bool cpu_matrix_units() { return cpu::isa_name() == std::string("amx"); }

std::string cpu_level() {
  const std::string isa = cpu::isa_name();
  if (isa == "amx") return "x86-64-v4 with AMX";
  if (isa == "v4") return "x86-64-v4 (AVX-512)";
  if (isa == "v3") return "x86-64-v3 (AVX2)";
  if (isa == "v2") return "x86-64-v2 (SSE4.2)";
  return isa;
}

}  // namespace sparsexmc

#define SPARSEXMC_UNPACK(...) __VA_ARGS__
#define SPARSEXMC_FORWARD_KERNEL(name, Parameters) \
  void name(Cpu, Context& context, const Parameters& p) { cpu::kernel_table().name(context.threads(), p); }
#define SPARSEXMC_FORWARD_SIZES(Result, name, parameters, names) \
  Result name(Cpu, SPARSEXMC_UNPACK parameters) { return cpu::kernel_table().name names; }

namespace sparsexmc::kernels {

int64_t leading_dimension(Cpu, int64_t batch) { return cpu::leading_dimension(batch); }
SPARSEXMC_CPU_KERNELS(SPARSEXMC_FORWARD_KERNEL, SPARSEXMC_FORWARD_SIZES)

}  // namespace sparsexmc::kernels

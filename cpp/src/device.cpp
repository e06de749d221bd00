#include "sparsexmc/device.h"

#include <dlfcn.h>

#include <charconv>
#include <string_view>

#include "device_name.h"
#include "sparsexmc/error.h"

namespace sparsexmc {
namespace {

#if defined(SPARSEXMC_HAVE_CUDA)
constexpr bool has_cuda_kernels = true;
#else
constexpr bool has_cuda_kernels = false;
#endif

/// What the NVIDIA driver says. Asked once, and only when somebody wants CUDA: initialising it in a process makes CUDA
/// unusable in its forked children.
struct DriverProbe {
  std::string problem;  // empty: there is a driver with at least one card
  int cards = 0;
};

DriverProbe probe_driver() {
  // Never closed: unloading an initialised driver is not supported.
  void* library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return {"no NVIDIA driver found (libcuda.so.1)"};
  const auto init = reinterpret_cast<int (*)(unsigned)>(dlsym(library, "cuInit"));
  const auto driver_version = reinterpret_cast<int (*)(int*)>(dlsym(library, "cuDriverGetVersion"));
  const auto device_count = reinterpret_cast<int (*)(int*)>(dlsym(library, "cuDeviceGetCount"));
  if (init == nullptr || driver_version == nullptr || device_count == nullptr)
    return {"the NVIDIA driver is unusable (libcuda.so.1 lacks cuInit, cuDriverGetVersion or cuDeviceGetCount)"};

  int version = 0;  // 1000 * major + 10 * minor
  driver_version(&version);
  const std::string driver =
      "the NVIDIA driver (CUDA " + std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10) + ")";
  constexpr int success = 0, no_device = 100;  // CUresult
  DriverProbe probe;
  int status = init(0);
  if (status == success) status = device_count(&probe.cards);
  if (status == no_device || (status == success && probe.cards == 0)) {
    probe.problem = driver + " finds no card";
  } else if (status != success) {
    probe.problem = driver + " does not start: CUresult " + std::to_string(status);
  }
  return probe;
}

const DriverProbe& driver() {
  static const DriverProbe probe = probe_driver();
  return probe;
}

}  // namespace

std::optional<Device> parse_device_name(const std::string& name) {
  if (name == "auto") return std::nullopt;
  if (name == "cpu") return Device{};
  if (name == "cuda") return Device{DeviceKind::cuda, 0};
  constexpr std::string_view prefix = "cuda:";
  if (name.starts_with(prefix)) {
    int index = -1;
    const char* end = name.data() + name.size();
    const auto [stop, error] = std::from_chars(name.data() + prefix.size(), end, index);
    if (error == std::errc() && stop == end && index >= 0) return Device{DeviceKind::cuda, index};
  }
  throw ArgumentError("device is \"" + name + R"("; use "auto", "cpu", "cuda" or "cuda:<index>")");
}

Device Device::parse(const std::string& name) {
  const std::optional<Device> named = parse_device_name(name);
  if (!named) return has_cuda_kernels && driver().problem.empty() ? Device{DeviceKind::cuda, 0} : Device{};
  if (named->kind == DeviceKind::cpu) return *named;
  const std::string reason = cuda_unavailable_reason();
  if (!reason.empty()) throw DeviceError("device is \"" + name + "\": " + reason + "; use device=\"cpu\"");
  if (named->index >= driver().cards)
    throw DeviceError("device is \"" + name + "\", but the number of cards is " + std::to_string(driver().cards) +
                      "; use an index below it");
  return *named;
}

std::string Device::name() const { return kind == DeviceKind::cpu ? "cpu" : "cuda:" + std::to_string(index); }

std::string cuda_unavailable_reason() {
  if (!driver().problem.empty()) return driver().problem;
  return has_cuda_kernels ? "" : "this build of sparsexmc has no CUDA kernels";
}

}  // namespace sparsexmc

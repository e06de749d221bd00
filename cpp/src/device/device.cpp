#include "sparsexmc/device.h"

#include <dlfcn.h>

#include <charconv>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "device/device_name.h"
#include "device/kernel_images.h"
#include "device/visit_device.h"
#include "sparsexmc/error.h"

namespace sparsexmc {
namespace {

/// The answer of the NVIDIA driver. Asked once, and only when somebody wants CUDA: initialising it in a process makes
/// CUDA unusable in its forked children.
struct DriverProbe {
  std::string problem;            // empty: there is a driver with at least one card
  int version = 0;                // 1000 * major + 10 * minor
  std::vector<int> capabilities;  // 10 * major + minor of every card
};

[[maybe_unused]] std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

#if defined(SPARSEXMC_CUDA_SHIM)
DriverProbe probe_driver() {
  const char* cards = std::getenv("SPARSEXMC_SHIM_DEVICES");
  const size_t count = cards != nullptr ? std::strtoul(cards, nullptr, 10) : 1;
  return {count > 0 ? "" : "the host shim has no card", kernels::runtime_version(kernels::Cuda{}),
          std::vector<int>(count, 90)};
}
#else
DriverProbe probe_driver() {
  // Never closed: unloading an initialised driver is not supported.
  void* library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return {"no NVIDIA driver found (libcuda.so.1)", 0, {}};
  const auto init = reinterpret_cast<int (*)(unsigned)>(dlsym(library, "cuInit"));
  const auto driver_version = reinterpret_cast<int (*)(int*)>(dlsym(library, "cuDriverGetVersion"));
  const auto device_count = reinterpret_cast<int (*)(int*)>(dlsym(library, "cuDeviceGetCount"));
  const auto attribute = reinterpret_cast<int (*)(int*, int, int)>(dlsym(library, "cuDeviceGetAttribute"));
  if (init == nullptr || driver_version == nullptr || device_count == nullptr || attribute == nullptr)
    return {"the NVIDIA driver is unusable (libcuda.so.1 lacks functions that every driver has)", 0, {}};

  DriverProbe probe;
  driver_version(&probe.version);
  const std::string driver = "the NVIDIA driver (CUDA " + version_text(probe.version) + ")";
  constexpr int success = 0, no_device = 100;  // CUresult
  int cards = 0, status = init(0);
  if (status == success) status = device_count(&cards);
  if (status == no_device || (status == success && cards == 0)) {
    probe.problem = driver + " finds no card";
  } else if (status != success) {
    probe.problem = driver + " does not start: CUresult " + std::to_string(status);
  }
  for (int card = 0; card < cards; ++card) {
    constexpr int capability_major = 75, capability_minor = 76;  // CUdevice_attribute
    int major = 0, minor = 0;
    attribute(&major, capability_major, card);
    attribute(&minor, capability_minor, card);
    probe.capabilities.push_back(10 * major + minor);
  }
  return probe;
}
#endif

const DriverProbe& driver() {
  static const DriverProbe probe = probe_driver();
  return probe;
}

#if defined(SPARSEXMC_HAVE_CUDA)
std::string capability_text(int capability) {
  return std::to_string(capability / 10) + "." + std::to_string(capability % 10);
}

/// The images in this build; empty if the build did not say.
const std::vector<KernelImage>& own_images() {
  static const std::vector<KernelImage> images = parse_kernel_images(SPARSEXMC_CUDA_IMAGES);
  return images;
}
#endif

/// Why this build cannot use any card, or card `index`; empty if it can.
std::string problem_of(int index) {
  if (!driver().problem.empty()) return driver().problem;
#if defined(SPARSEXMC_HAVE_CUDA)
  // Within a major version an older driver runs what a newer toolkit has compiled.
  const int needed = kernels::runtime_version(kernels::Cuda{});
  if (driver().version / 1000 < needed / 1000)
    return "the NVIDIA driver is too old: it knows CUDA " + version_text(driver().version) + ", this build needs " +
           version_text(needed / 1000 * 1000) + " or later";
  constexpr int least_capability = 80;  // Ampere: bf16 tensor cores and asynchronous copies
  const auto cards = static_cast<int>(driver().capabilities.size());
  if (index >= cards) return "the number of cards is " + std::to_string(cards) + ", counted from 0";
  const int capability = driver().capabilities[static_cast<size_t>(index)];
  if (capability < least_capability)
    return "card " + std::to_string(index) + " has compute capability " + capability_text(capability) +
           ", and 8.0 is the least that sparsexmc runs on";
  if (const std::vector<KernelImage>& images = own_images(); !images.empty() && !find_kernel_image(images, capability))
    return "card " + std::to_string(index) + " has compute capability " + capability_text(capability) +
           ", and this build of sparsexmc has kernels for " + describe_kernel_images(images) +
           "; build it with -DCMAKE_CUDA_ARCHITECTURES=" + std::to_string(capability);
  return "";
#else
  (void)index;
  return "this build of sparsexmc has no CUDA kernels";
#endif
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
  if (!named) return problem_of(0).empty() ? Device{DeviceKind::cuda, 0} : Device{};
  if (named->kind == DeviceKind::cuda)
    if (const std::string problem = problem_of(named->index); !problem.empty())
      throw DeviceError("device is \"" + name + "\": " + problem + "; use device=\"cpu\"");
  return *named;
}

std::string Device::name() const { return kind == DeviceKind::cpu ? "cpu" : "cuda:" + std::to_string(index); }

std::string cuda_unavailable_reason() { return problem_of(0); }

std::string cuda_kernel_image(int index) {
#if defined(SPARSEXMC_HAVE_CUDA)
  if (index < 0 || !problem_of(index).empty()) return "";
  return find_kernel_image(own_images(), driver().capabilities[static_cast<size_t>(index)]).value_or("");
#else
  (void)index;
  return "";
#endif
}

}  // namespace sparsexmc

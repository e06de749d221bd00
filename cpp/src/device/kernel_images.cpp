#include "device/kernel_images.h"

#include <charconv>
#include <sstream>
#include <string_view>

namespace sparsexmc {
namespace {

std::string architecture_name(const KernelImage& image) {
  return std::to_string(image.architecture) + (image.suffix != 0 ? std::string(1, image.suffix) : "");
}

bool runs_machine_code(const KernelImage& image, int capability) {
  if (image.suffix == 'a') return capability == image.architecture;
  return capability / 10 == image.architecture / 10 && capability >= image.architecture;
}

bool runs_ptx(const KernelImage& image, int capability) {
  return image.suffix == 0 ? capability >= image.architecture : runs_machine_code(image, capability);
}

}  // namespace

std::vector<KernelImage> parse_kernel_images(const std::string& architectures) {
  std::vector<KernelImage> images;
  std::istringstream list(architectures);
  for (std::string entry; list >> entry;) {
    KernelImage image;
    const char* end = entry.data() + entry.size();
    const auto [stop, error] = std::from_chars(entry.data(), end, image.architecture);
    if (error != std::errc()) continue;
    std::string_view rest(stop, static_cast<size_t>(end - stop));
    if (rest.starts_with('a') || rest.starts_with('f')) {
      image.suffix = rest.front();
      rest.remove_prefix(1);
    }
    image.machine_code = rest.empty() || rest == "-real";
    image.ptx = rest.empty() || rest == "-virtual";
    if (image.machine_code || image.ptx) images.push_back(image);
  }
  return images;
}

std::optional<std::string> find_kernel_image(const std::vector<KernelImage>& images, int capability) {
  const KernelImage* best = nullptr;
  const auto consider = [&](const KernelImage& image) {
    if (best == nullptr || image.architecture > best->architecture) best = &image;
  };
  for (const KernelImage& image : images)
    if (image.machine_code && runs_machine_code(image, capability)) consider(image);
  if (best != nullptr) return "sm_" + architecture_name(*best);
  for (const KernelImage& image : images)
    if (image.ptx && runs_ptx(image, capability)) consider(image);
  if (best != nullptr) return "compute_" + architecture_name(*best);
  return std::nullopt;
}

std::string describe_kernel_images(const std::vector<KernelImage>& images) {
  std::vector<std::string> names;
  for (const KernelImage& image : images)
    if (image.machine_code) names.push_back("sm_" + architecture_name(image));
  for (const KernelImage& image : images)
    if (image.ptx) names.push_back("PTX of compute_" + architecture_name(image));
  std::string text;
  for (size_t i = 0; i < names.size(); ++i) {
    const char* separator = i == 0 ? "" : i + 1 == names.size() ? " and " : ", ";
    text += separator + names[i];
  }
  return text;
}

}  // namespace sparsexmc

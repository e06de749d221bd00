// Which of the images of the CUDA kernels in a build a card runs.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace sparsexmc {

/// The kernels compiled for one architecture: as machine code, as PTX that the driver compiles, or as both.
struct KernelImage {
  int architecture = 0;  // 10 * major + minor of the compute capability
  char suffix = 0;       // 'a': for this architecture alone; 'f': for its family; 0: see find_kernel_image
  bool machine_code = false;
  bool ptx = false;
};

/// Reads entries as CMAKE_CUDA_ARCHITECTURES has them, with spaces between: "80-real 90 100-virtual". Entries of
/// another form, which name no architecture ("native"), are left out.
std::vector<KernelImage> parse_kernel_images(const std::string& architectures);

/// The image that a card of a compute capability (10 * major + minor) runs: "sm_90" for machine code, "compute_90" for
/// PTX that the driver compiles at first use; none: the card can run no image. Machine code runs on cards of the same
/// major version and a minor version that is not lower; PTX on all cards that are not older.
std::optional<std::string> find_kernel_image(const std::vector<KernelImage>& images, int capability);

/// "sm_80, sm_90 and PTX of compute_90", for messages.
std::string describe_kernel_images(const std::vector<KernelImage>& images);

}  // namespace sparsexmc

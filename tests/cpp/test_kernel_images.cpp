// Which image of the CUDA kernels a card runs, without a card.
#include <doctest/doctest.h>

#include "device/kernel_images.h"

using sparsexmc::describe_kernel_images;
using sparsexmc::find_kernel_image;
using sparsexmc::KernelImage;
using sparsexmc::parse_kernel_images;

namespace {

std::string image(const char* architectures, int capability) {
  return find_kernel_image(parse_kernel_images(architectures), capability).value_or("none");
}

}  // namespace

TEST_CASE("the images of a wheel, and the cards that run them") {
  const char* wheel = "80-real 86-real 89-real 90-real 100 103-real 120";
  CHECK(image(wheel, 75) == "none");
  CHECK(image(wheel, 80) == "sm_80");
  CHECK(image(wheel, 87) == "sm_86");
  CHECK(image(wheel, 89) == "sm_89");
  CHECK(image(wheel, 90) == "sm_90");
  CHECK(image(wheel, 100) == "sm_100");
  CHECK(image(wheel, 103) == "sm_103");
  CHECK(image(wheel, 110) == "compute_100");  // another major version: no machine code
  CHECK(image(wheel, 121) == "sm_120");
  CHECK(image(wheel, 130) == "compute_120");
  CHECK(describe_kernel_images(parse_kernel_images(wheel)) ==
        "sm_80, sm_86, sm_89, sm_90, sm_100, sm_103, sm_120, PTX of compute_100 and PTX of compute_120");
}

TEST_CASE("machine code of one card does not run on older ones, or on another major version") {
  CHECK(image("90-real", 89) == "none");
  CHECK(image("90-real", 100) == "none");
  CHECK(image("86-real", 80) == "none");
  CHECK(image("90-virtual", 80) == "none");
  CHECK(image("90-virtual", 90) == "compute_90");
}

TEST_CASE("suffixes bind an image to an architecture or a family") {
  CHECK(image("90a", 90) == "sm_90a");
  CHECK(image("90a", 100) == "none");
  CHECK(image("100f", 103) == "sm_100f");
  CHECK(image("100f-virtual", 120) == "none");
}

TEST_CASE("what names no architecture is left out") {
  CHECK(parse_kernel_images("").empty());
  CHECK(parse_kernel_images("native all-major OFF 80-odd").empty());
  CHECK(parse_kernel_images("native 80").size() == 1);
}

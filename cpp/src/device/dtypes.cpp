#include "device/dtypes.h"

#include "sparsexmc/error.h"

namespace sparsexmc {
namespace {

void check(const std::string& field, DType dtype) {
  if (dtype != DType::float32 && dtype != DType::bfloat16)
    throw ArgumentError(field + " is " + dtype_name(dtype) + "; use float32 or bfloat16");
}

}  // namespace

DType choose_compute_dtype(const ClassifierConfig& config, Device device) {
  check("weight_dtype", config.weight_dtype);
  if (config.weight_dtype == DType::bfloat16 && device.kind == DeviceKind::cpu)
    throw ArgumentError(
        "weight_dtype is bfloat16, but on the CPU weights are float32; use weight_dtype=\"float32\", or "
        "device=\"cuda\"");
  const DType automatic = device.kind == DeviceKind::cpu ? DType::float32 : DType::bfloat16;
  const DType compute = config.compute_dtype.value_or(automatic);
  check("compute_dtype", compute);
  return compute;
}

DType choose_stored_dtype(DType compute, Device device) {
  return device.kind == DeviceKind::cpu ? DType::float32 : compute;
}

}  // namespace sparsexmc

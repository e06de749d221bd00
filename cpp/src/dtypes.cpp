#include "dtypes.h"

#include "sparsexmc/error.h"

namespace sparsexmc {
namespace {

void check(const std::string& field, DType dtype, Device device, const std::string& cpu_remedy) {
  const std::string is = field + " is " + dtype_name(dtype);
  if (dtype != DType::float32 && dtype != DType::bfloat16) throw ArgumentError(is + "; use float32 or bfloat16");
  if (dtype == DType::bfloat16 && device.kind == DeviceKind::cpu)
    throw ArgumentError(is + ", but on the CPU everything is float32; use " + cpu_remedy + ", or device=\"cuda\"");
}

}  // namespace

DType choose_compute_dtype(const ClassifierConfig& config, Device device) {
  check("weight_dtype", config.weight_dtype, device, "weight_dtype=\"float32\"");
  const DType automatic = device.kind == DeviceKind::cpu ? DType::float32 : DType::bfloat16;
  const DType compute = config.compute_dtype.value_or(automatic);
  check("compute_dtype", compute, device, "compute_dtype=\"float32\"");
  return compute;
}

}  // namespace sparsexmc

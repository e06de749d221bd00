#include "cublas.h"

#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>

namespace sparsexmc::cuda {
namespace {

constexpr const char* versions[] = {"13", "12"};

/// Libraries are never closed: handles outlive us.
void* open_library(const std::string& directory) {
#if !defined(SPARSEXMC_CUDA_SHIM)  // a real cuBLAS cannot work on the shim's memory
  for (const int flags : {RTLD_NOLOAD, 0})
    for (const std::string version : versions)
      if (void* library = dlopen(("libcublas.so." + version).c_str(), RTLD_NOW | RTLD_LOCAL | flags)) return library;
#endif
  if (directory.empty()) return nullptr;
  for (const std::string version : versions) {
    // It needs its other half, which the loader may not know either.
    dlopen((directory + "/libcublasLt.so." + version).c_str(), RTLD_NOW | RTLD_LOCAL);
    if (void* library = dlopen((directory + "/libcublas.so." + version).c_str(), RTLD_NOW | RTLD_LOCAL)) return library;
  }
  return nullptr;
}

template <class Function>
bool find(Function*& function, void* library, const char* name) {
  function = reinterpret_cast<Function*>(dlsym(library, name));
  return function != nullptr;
}

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// Values of the enumerations.
constexpr int success = 0;             // CUBLAS_STATUS_SUCCESS
constexpr int plain = 0;               // CUBLAS_OP_N
constexpr int transposed = 1;          // CUBLAS_OP_T
constexpr int real_32 = 0;             // CUDA_R_32F
constexpr int pedantic_fp32 = 69;      // CUBLAS_COMPUTE_32F_PEDANTIC
constexpr int default_algorithm = -1;  // CUBLAS_GEMM_DEFAULT

}  // namespace

Cublas::Cublas(const std::string& directory) {
  void* library = open_library(directory);
  if (library == nullptr) return;
  const bool complete = find(create_, library, "cublasCreate_v2") && find(set_stream_, library, "cublasSetStream_v2") &&
                        find(set_workspace_, library, "cublasSetWorkspace_v2") && find(gemm_, library, "cublasGemmEx");
  if (!complete) create_ = nullptr;
}

Cublas& Cublas::instance() {
  static Cublas& cublas =
      environment("SPARSEXMC_CUBLAS") == "0" ? *new Cublas : *new Cublas(environment("SPARSEXMC_CUBLAS_DIR"));
  return cublas;
}

Cublas::Handle Cublas::handle(int device) {
  if (create_ == nullptr) return nullptr;
  const auto [place, missing] = handles_.try_emplace(device, nullptr);
  if (missing && !succeeded(create_(&place->second), "cublasCreate")) place->second = nullptr;
  return place->second;
}

bool Cublas::succeeded(int status, const char* call) {
  if (status == success) return true;
  if (!reported_)
    std::fprintf(stderr,
                 "sparsexmc: %s returned status %d; products of the hidden layer that cuBLAS refuses are done by "
                 "sparsexmc's own, slower kernels (SPARSEXMC_CUBLAS=0 does without cuBLAS)\n",
                 call, status);
  reported_ = true;
  return false;
}

bool Cublas::multiply(int device, void* stream, const CublasProduct& p) {
  if (p.features > INT32_MAX || p.units > INT32_MAX || p.columns > INT32_MAX) return false;
  const std::lock_guard lock(mutex_);
  const Handle h = handle(device);
  if (h == nullptr) return false;
  // Setting the stream brings the library's own workspace back; what it would allocate is not in the memory plan.
  if (!succeeded(set_stream_(h, stream), "cublasSetStream") ||
      !succeeded(set_workspace_(h, p.workspace, static_cast<size_t>(p.workspace_bytes)), "cublasSetWorkspace"))
    return false;
  // cuBLAS is column-major, so it sees each matrix transposed, and makes out^T = in^T weight^T.
  const int features = static_cast<int>(p.features), units = static_cast<int>(p.units);
  const int columns = static_cast<int>(p.columns);
  const float one = 1.0f, zero = 0.0f;
  const int status =
      gemm_(h, plain, p.weight_transposed ? transposed : plain, columns, p.weight_transposed ? units : features,
            p.weight_transposed ? features : units, &one, p.in, real_32, columns, p.weight, real_32, units, &zero,
            p.out, real_32, columns, pedantic_fp32, default_algorithm);
  return succeeded(status, "cublasGemmEx");
}

}  // namespace sparsexmc::cuda

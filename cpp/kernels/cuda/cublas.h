// cuBLAS, if there is one: looked for at run time, so that neither the build nor the wheel needs it. Most processes
// with a deep-learning framework have it loaded.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>

namespace sparsexmc::cuda {

/// out = weight times in, or the transpose of weight times in; row-major fp32. `weight` is [features, units], `in` and
/// `out` are [units or features, columns].
struct CublasProduct {
  float* out = nullptr;
  const float* weight = nullptr;
  const float* in = nullptr;
  void* workspace = nullptr;  // device memory, aligned to 256 bytes, that the product may use until it is done
  int64_t workspace_bytes = 0;
  int64_t features = 0, units = 0, columns = 0;
  bool weight_transposed = false;
};

class Cublas {
 public:
  /// Looks for a copy that the process has loaded, then for one that the dynamic loader finds, then in `directory`.
  explicit Cublas(const std::string& directory);
  Cublas(const Cublas&) = delete;
  Cublas& operator=(const Cublas&) = delete;

  /// The process's own, made at the first call. The environment variable SPARSEXMC_CUBLAS_DIR names its directory;
  /// SPARSEXMC_CUBLAS=0 leaves it without a library.
  static Cublas& instance();

  /// In true fp32 (no TF32), in the workspace alone, the same bits every time. A refusal is reported on stderr, once.
  /// @param stream cudaStream_t of the current device, whose number is `device`
  /// @returns false where there is no cuBLAS, or it refuses: nothing was queued then
  bool multiply(int device, void* stream, const CublasProduct& p);

 private:
  using Handle = void*;

  Cublas() = default;  // without a library

  /// Whether a call went well; if not, says so.
  bool succeeded(int status, const char* call);

  /// Of a device; null where cuBLAS does not start. Never destroyed: at exit the driver may have gone before us.
  Handle handle(int device);

  // Prototypes as in cublas_api.h (cuBLAS 12 and 13); enumerations and cudaStream_t by their representation.
  int (*create_)(Handle* handle) = nullptr;
  int (*set_stream_)(Handle handle, void* stream) = nullptr;
  int (*set_workspace_)(Handle handle, void* workspace, size_t bytes) = nullptr;
  int (*gemm_)(Handle handle, int transpose_a, int transpose_b, int m, int n, int k, const void* alpha, const void* a,
               int type_a, int stride_a, const void* b, int type_b, int stride_b, const void* beta, void* c, int type_c,
               int stride_c, int compute_type, int algorithm) = nullptr;
  bool reported_ = false;
  std::mutex mutex_;
  std::map<int, Handle> handles_;
};

}  // namespace sparsexmc::cuda

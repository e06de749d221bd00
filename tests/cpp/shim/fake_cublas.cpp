// A stand-in for libcublas.so.13 on the host's memory: the four functions that sparsexmc calls, column-major as there.
#include <cstddef>
#include <cstdint>

#define EXPORT extern "C" __attribute__((visibility("default")))

namespace {

struct Handle {
  bool has_stream = false;
  unsigned char* workspace = nullptr;  // null: the library's own, which is not in the caller's memory plan
  size_t workspace_bytes = 0;
};
constexpr int success = 0, invalid_value = 7, real_32 = 0, pedantic_fp32 = 69;
int64_t products = 0;

}  // namespace

/// Products so far.
EXPORT int64_t fake_cublas_products() { return products; }

EXPORT int cublasCreate_v2(void** handle) {
  static Handle only;
  *handle = &only;
  return success;
}

/// Brings the default workspace back.
EXPORT int cublasSetStream_v2(void* handle, void*) {
  *static_cast<Handle*>(handle) = {true, nullptr, 0};
  return success;
}

EXPORT int cublasSetWorkspace_v2(void* handle, void* workspace, size_t bytes) {
  if (reinterpret_cast<uintptr_t>(workspace) % 256 != 0) return invalid_value;
  *static_cast<Handle*>(handle) = {true, static_cast<unsigned char*>(workspace), bytes};
  return success;
}

/// c [m, n] = alpha op(a) op(b) + beta c; only what sparsexmc may ask for.
EXPORT int cublasGemmEx(void* handle, int transpose_a, int transpose_b, int m, int n, int k, const void* alpha,
                        const void* a, int type_a, int stride_a, const void* b, int type_b, int stride_b,
                        const void* beta, void* c, int type_c, int stride_c, int compute_type, int) {
  const Handle& h = *static_cast<Handle*>(handle);
  if (!h.has_stream || h.workspace_bytes == 0 || transpose_a != 0 || compute_type != pedantic_fp32)
    return invalid_value;
  if (type_a != real_32 || type_b != real_32 || type_c != real_32) return invalid_value;
  if (stride_a < m || stride_b < (transpose_b != 0 ? n : k) || stride_c < m) return invalid_value;
  if (*static_cast<const float*>(alpha) != 1.0f || *static_cast<const float*>(beta) != 0.0f) return invalid_value;
  for (size_t i = 0; i < h.workspace_bytes; ++i) h.workspace[i] = 0xa5;  // all of it must be the caller's to give
  ++products;
  for (int64_t column = 0; column < n; ++column) {
    float* out = static_cast<float*>(c) + column * stride_c;
    for (int64_t row = 0; row < m; ++row) out[row] = 0.0f;
    for (int64_t i = 0; i < k; ++i) {
      const float* in = static_cast<const float*>(a) + i * stride_a;
      const float factor =
          static_cast<const float*>(b)[transpose_b != 0 ? i * stride_b + column : column * stride_b + i];
      for (int64_t row = 0; row < m; ++row) out[row] += in[row] * factor;
    }
  }
  return success;
}

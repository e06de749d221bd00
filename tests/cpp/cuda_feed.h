// Small classifiers on a GPU, or on the host shim, and the batches that they train on.
#pragma once

#include <dlfcn.h>

#include <limits>
#include <string>
#include <vector>

#include "device/device_guard.h"
#include "small_classifier.h"

namespace cuda_tests {

using namespace sparsexmc;
using namespace small_classifier;

inline bool has_cuda() { return cuda_unavailable_reason().empty(); }

/// A control of the host shim; null on a real card.
template <class Function>
Function* shim_control(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_DEFAULT, name));
}

/// On the host shim every step has run when it is queued. Runs `body` so, and with results that come late.
template <class Body>
void with_late_events(Body&& body) {
  body();
  if (const auto delay = shim_control<void(bool)>("sparsexmc_shim_delay_events")) {
    delay(true);
    body();
    delay(false);
  }
}

inline ClassifierConfig config_on(const std::string& device, DType compute = DType::float32) {
  ClassifierConfig config = small_config(OptimizerKind::adam);
  config.device = device;
  if (device != "cpu") config.compute_dtype = compute;
  config.rewiring.reset();
  return config;
}

/// Batches in the memory of a device, each the same on every device. The gradient of the last step comes back to the
/// host.
class Feed {
 public:
  explicit Feed(Device device) : context_(device, 1) {
    const size_t bytes = static_cast<size_t>(batch * in_features) * sizeof(float);
    embeddings_ = context_.pool().allocate("embeddings", bytes);
    gradient_ = context_.pool().allocate("gradient", bytes);
  }

  int64_t start(Classifier& classifier, int number, OnNonfinite on_nonfinite = OnNonfinite::raise, bool nan = false) {
    std::vector<float> values(batch * in_features);
    for (size_t j = 0; j < values.size(); ++j)
      values[j] = static_cast<float>((static_cast<int>(j) * 7 + number) % 11 - 5) / 4;
    if (nan) values[3] = std::numeric_limits<float>::quiet_NaN();
    const Device device = context_.device();
    {
      const DeviceGuard guard(device);
      visit_device(device, [&](auto tag) {
        kernels::synchronize(tag, classifier.context());  // our one buffer may still be read
        kernels::write_device(tag, context_, embeddings_.as<void>(), values.data(), embeddings_.bytes());
      });
    }
    std::vector<int64_t> indptr = {0, 2, 3, 3, 5}, indices = {number % num_labels, 20, 3, 7, 8};
    if (label_all_) {
      indptr = {0, num_labels, 2 * num_labels, 3 * num_labels, 4 * num_labels};
      indices.clear();
      for (int64_t i = 0; i < batch * num_labels; ++i) indices.push_back(i % num_labels);
    }
    const TensorView gradient = view(gradient_);
    return classifier.start_step(view(embeddings_), {batch, {indptr.data(), true}, {indices.data(), true}}, &gradient,
                                 on_nonfinite);
  }

  /// Gives every instance every label from now on, or few as at first.
  void label_all(bool all) { label_all_ = all; }

  StepResult train(Classifier& classifier, int number) { return classifier.finish_step(start(classifier, number)); }

  std::vector<float> gradient() {
    std::vector<float> values(batch * in_features);
    const DeviceGuard guard(context_.device());
    visit_device(context_.device(), [&](auto tag) {
      kernels::read_device(tag, context_, values.data(), gradient_.as<void>(), gradient_.bytes());
    });
    return values;
  }

  void topk(Classifier& classifier, std::vector<float>& scores, std::vector<int64_t>& ids) {
    scores.assign(batch * 5, 0.0f);
    ids.assign(batch * 5, -1);
    classifier.topk(view(embeddings_), 5, scores.data(), ids.data());
  }

 private:
  TensorView view(const Allocation& block) const {
    return {block.as<void>(), batch, in_features, DType::float32, context_.device()};
  }

  Context context_;
  Allocation embeddings_, gradient_;
  bool label_all_ = false;
};

}  // namespace cuda_tests

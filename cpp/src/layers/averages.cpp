#include "layers/averages.h"

#include "device/visit_device.h"

namespace sparsexmc {

template <class Body>
void Averages::for_each(Body&& body) const {
  for (const TensorSpec& spec : tensors_)
    if (spec.role == Role::trained)
      body(StoredTensor{.data = buffers_.get<void>(spec.name), .dtype = spec.dtype},
           buffers_.get<float>(average_of(spec).name), spec.count_in_memory());
}

void Averages::update(float rate, const uint32_t* skip) const {
  for_each([&](const StoredTensor& weights, float* average, int64_t count) {
    const kernels::AverageStep p{average, weights, count, rate, skip};
    visit_device(context_.device(), [&](auto tag) { kernels::average_step(tag, context_, p); });
  });
}

void Averages::clear() const {
  for_each([&](const StoredTensor&, float* average, int64_t count) {
    visit_device(context_.device(), [&](auto tag) {
      kernels::fill_zero(tag, context_, average, static_cast<size_t>(count) * sizeof(float));
    });
  });
}

void Averages::store() const {
  for_each([&](const StoredTensor& weights, const float* average, int64_t count) {
    const kernels::StoreAverage p{weights, average, count};
    visit_device(context_.device(), [&](auto tag) { kernels::store_average(tag, context_, p); });
  });
}

}  // namespace sparsexmc

#include "device_array.h"

#include <array>

#include "bindings.h"
#include "tensor.h"

namespace nb = nanobind;

namespace sparsexmc::python {
namespace {

/// The owner of the memory of a capsule.
struct Export {
  nb::object array;
  Device device;
  Stream own, consumer;
  bool ordered;  // false: the consumer is ourselves

  /// The pool hands the memory out again in the order of our own stream, which therefore has to wait for the consumer.
  ~Export() {
    if (ordered) Event(device, consumer).hold_back(own);
  }
};

}  // namespace

DeviceArray::DeviceArray(Engine& engine, const std::string& name, int64_t rows, int64_t cols, const std::string& dtype)
    : engine_(&engine), rows_(rows), cols_(cols), dtype_(parse_dtype(dtype)) {
  const size_t bytes = static_cast<size_t>(rows * cols) * dtype_.bits / 8;
  engine.call([&](Classifier& c) {
    Context& context = c.context();
    device_ = context.device();
    memory_ = context.pool().allocate(name, bytes, context.own_stream());
  });
}

nb::ndarray<> DeviceArray::capsule(nb::handle_t<DeviceArray> self, int64_t consumer) {
  const auto& array = nb::cast<const DeviceArray&>(self);
  const bool ordered = consumer != -1;
  const Stream stream = to_stream(static_cast<StreamHandle>(consumer));
  const Stream own = array.engine_->call([&](Classifier& c) {
    const Stream mine = c.context().own_stream();
    if (ordered) Event(array.device_, mine).hold_back(stream);
    return mine;
  });
  auto* exported = new Export{nb::borrow(self), array.device_, own, stream, ordered};
  const nb::capsule owner(exported, [](void* p) noexcept { delete static_cast<Export*>(p); });
  const std::array<size_t, 2> shape{static_cast<size_t>(array.rows_), static_cast<size_t>(array.cols_)};
  return nb::ndarray<>(array.memory_.as<void>(), shape.size(), shape.data(), owner, nullptr, array.dtype_,
                       nb::device::cuda::value, array.device_.index);
}

void bind_device_array(nb::module_& m) {
  nb::class_<DeviceArray>(m, "DeviceArray", "Memory of a GPU that other libraries may take over.")
      .def("capsule", &DeviceArray::capsule, nb::arg("stream"), nb::sig("def capsule(self, stream: int) -> typing.Any"),
           "A DLPack capsule; the taker's stream waits for what is queued now, -1: no waiting.");
}

}  // namespace sparsexmc::python

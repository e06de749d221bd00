#include "layers/label_order.h"

#include <algorithm>
#include <numeric>
#include <string>
#include <vector>

#include "device/visit_device.h"
#include "sparsexmc/error.h"

namespace sparsexmc {

LabelOrder::LabelOrder(const ClassifierConfig& config, Context& context, const Buffers& buffers)
    : context_(context),
      num_labels_(config.num_labels),
      device_(buffers.get<uint32_t>(label_ids_name)),
      ids_(buffers.host_table<uint32_t>(label_ids_name)),
      rows_(buffers.host_table<uint32_t>(label_rows_name)) {}

void LabelOrder::check(const int64_t* order) const {
  std::vector<bool> seen(static_cast<size_t>(num_labels_), false);
  for (int64_t row = 0; row < num_labels_; ++row) {
    const int64_t id = order[row];
    if (id < 0 || id >= num_labels_ || seen[static_cast<size_t>(id)])
      throw ArgumentError("label_order: " + std::to_string(id) + " at position " + std::to_string(row) +
                          (id < 0 || id >= num_labels_ ? " is no label id" : " occurs twice") +
                          "; it must hold every id of 0.." + std::to_string(num_labels_ - 1) + " once");
    seen[static_cast<size_t>(id)] = true;
  }
}

void LabelOrder::set(const int64_t* order) {
  check(order);
  for (int64_t row = 0; row < num_labels_; ++row) {
    ids_[row] = static_cast<uint32_t>(order[row]);
    rows_[order[row]] = static_cast<uint32_t>(row);
  }
  if (ids_ == device_) return;
  visit_device(context_.device(), [&](auto tag) {
    kernels::write_device(tag, context_, device_, ids_, static_cast<size_t>(num_labels_) * sizeof(uint32_t));
  });
}

void LabelOrder::initialise(const int64_t* order, const int64_t* counts) {
  if (order != nullptr) return set(order);
  std::vector<int64_t> own(static_cast<size_t>(num_labels_));
  std::iota(own.begin(), own.end(), int64_t{0});
  if (counts != nullptr)
    std::stable_sort(own.begin(), own.end(), [&](int64_t a, int64_t b) { return counts[a] > counts[b]; });
  set(own.data());
}

}  // namespace sparsexmc

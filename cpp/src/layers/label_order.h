// The internal order of the labels, on the host and on the device.
#pragma once

#include "layers/buffers.h"
#include "layers/tensor_spec.h"

namespace sparsexmc {

/// Names of the tables: internal row -> user id, which checkpoints hold, and back.
inline constexpr const char* label_ids_name = "label_order";
inline constexpr const char* label_rows_name = "label_rows";

inline TensorSpec label_order_tensor(const ClassifierConfig& config) {
  return {label_ids_name, DType::int64, {config.num_labels}, Layout::order};
}

class LabelOrder {
 public:
  LabelOrder(const ClassifierConfig& config, Context& context, const Buffers& buffers);

  /// @param order internal row -> user id. @throws ArgumentError unless it is a permutation
  void check(const int64_t* order) const;
  /// Checks and takes it.
  void set(const int64_t* order);
  /// `order`, or where it is null descending counts (null: all equal), then ascending ids.
  /// @throws ArgumentError
  void initialise(const int64_t* order, const int64_t* counts);

  int64_t size() const { return num_labels_; }
  const uint32_t* ids() const { return ids_; }            ///< internal row -> user id
  const uint32_t* rows() const { return rows_; }          ///< user id -> internal row
  const uint32_t* device_ids() const { return device_; }  ///< ids() on the device

 private:
  Context& context_;
  int64_t num_labels_;
  uint32_t *device_, *ids_, *rows_;
};

}  // namespace sparsexmc

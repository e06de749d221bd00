// The internal order of the labels, on the host and on the device.
#pragma once

#include <vector>

#include "layers/buffers.h"

namespace sparsexmc {

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
  std::vector<uint32_t> host_;  // both tables where the device's memory is not the host's
  uint32_t *device_, *ids_, *rows_;
};

}  // namespace sparsexmc

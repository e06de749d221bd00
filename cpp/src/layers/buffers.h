// The allocations of a plan, found by name, and the way of host data into them.
#pragma once

#include <string>
#include <unordered_map>

#include "sparsexmc/context.h"
#include "sparsexmc/plan.h"

namespace sparsexmc {

class Buffers {
 public:
  /// Allocates every entry. @throws MemoryPlanError; what was allocated until then is given back.
  Buffers(Context& context, const MemoryPlan& plan);
  ~Buffers();
  Buffers(const Buffers&) = delete;
  Buffers& operator=(const Buffers&) = delete;

  /// Allocates what a longer plan has besides. @throws MemoryPlanError; what was allocated until then is given back
  void add(const MemoryPlan& plan);
  /// Gives back what a shorter plan does not have.
  void remove_others(const MemoryPlan& plan);

  /// The block of that name. @throws std::logic_error if the plan has no such entry: it is misspelled, or belongs to
  /// something that this model does not have
  template <class T>
  T* get(const std::string& name) const {
    return known(blocks_, name).template as<T>();
  }

  /// The same for a block that the plan may lack, for example because it would be empty; null then.
  template <class T>
  T* find(const std::string& name) const {
    const auto found = blocks_.find(name);
    return found == blocks_.end() ? nullptr : found->second.template as<T>();
  }

  /// A block that the host reads and writes: of MemoryPlan::host_entries, or the device's on the CPU.
  /// @throws std::logic_error
  template <class T>
  T* host_table(const std::string& name) const {
    return known(on_cpu() ? blocks_ : host_blocks_, name).template as<T>();
  }

  /// The block of that name with room for `count` elements. A batch beyond the plan's reserve gets a larger block, so
  /// contents are lost. @throws MemoryPlanError when the limit forbids it; the old block stays. std::logic_error
  template <class T>
  T* at_least(const std::string& name, int64_t count) {
    return static_cast<T*>(grow(name, static_cast<size_t>(count) * sizeof(T)));
  }
  template <class T>
  T* host_table_at_least(const std::string& name, int64_t count) {
    return static_cast<T*>(grow_host_table(name, static_cast<size_t>(count) * sizeof(T)));
  }

  /// Host memory for upload() to take from: on the CPU the block itself, on CUDA one of two page-locked twins in turn,
  /// so that the host may fill one while the other is still being copied. @throws MemoryPlanError
  template <class T>
  T* host(const std::string& name, int64_t count) {
    return static_cast<T*>(stage(name, static_cast<size_t>(count) * sizeof(T)));
  }

  /// Copies `count` elements from `data`, which lies in what host() gave last, to the block of that name, in the order
  /// of the stream. @returns their place on the device; on the CPU that is `data`. @throws MemoryPlanError
  template <class T>
  T* upload(const std::string& name, const T* data, int64_t count) {
    return static_cast<T*>(send(name, data, static_cast<size_t>(count) * sizeof(T)));
  }

 private:
  using Blocks = std::unordered_map<std::string, Allocation>;

  /// Two page-locked blocks, each with the event after the copies from it.
  struct Staging {
    Allocation blocks[2];
    void* events[2] = {};
    int current = 0;
  };

  static const Allocation& known(const Blocks& blocks, const std::string& name);
  bool on_cpu() const { return context_->device().kind == DeviceKind::cpu; }
  void* grow(const std::string& name, size_t bytes);
  void* grow_host_table(const std::string& name, size_t bytes);
  void* stage(const std::string& name, size_t bytes);
  void* send(const std::string& name, const void* data, size_t bytes);

  Context* context_;
  Blocks blocks_, host_blocks_;
  std::unordered_map<std::string, Staging> staging_;
};

}  // namespace sparsexmc

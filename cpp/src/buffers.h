// The allocations of a plan, found by name.
#pragma once

#include <string>
#include <unordered_map>

#include "sparsexmc/context.h"
#include "sparsexmc/plan.h"

namespace sparsexmc {

class Buffers {
 public:
  /// Allocates every entry. @throws MemoryPlanError; what was allocated until then is given back.
  Buffers(Context& context, const MemoryPlan& plan) : context_(&context) {
    for (const MemoryEntry& entry : plan.entries)
      blocks_.emplace(entry.name, context.pool().allocate(entry.name, entry.bytes, context.stream()));
  }

  /// Null if the plan has no such entry.
  template <class T>
  T* get(const std::string& name) const {
    const auto found = blocks_.find(name);
    return found == blocks_.end() ? nullptr : found->second.template as<T>();
  }

  /// The block of that name with room for `count` elements. A batch beyond the plan's reserve gets a larger block, so
  /// contents are lost. @throws MemoryPlanError when the limit forbids it; the old block stays
  template <class T>
  T* at_least(const std::string& name, int64_t count) {
    Allocation& block = blocks_[name];
    const size_t bytes = static_cast<size_t>(count) * sizeof(T);
    if (block.bytes() < bytes) block = context_->pool().allocate(name, bytes, context_->stream());
    return block.template as<T>();
  }

 private:
  Context* context_;
  std::unordered_map<std::string, Allocation> blocks_;
};

}  // namespace sparsexmc

// Every byte a classifier will hold, computed from its configuration before anything is allocated.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "sparsexmc/config.h"
#include "sparsexmc/memory_pool.h"

namespace sparsexmc {

struct MemoryPlan {
  std::vector<MemoryEntry> entries;  ///< in order of allocation, rounded to the pool's granularity

  size_t total() const;
  /// Bytes of the entry of that name; 0 if there is none.
  size_t bytes(const std::string& name) const;
  /// A table for people: name, bytes, share.
  std::string table() const;
};

/// @param num_threads 0 resolves as ThreadPool does; the workers' scratch depends on it.
/// @throws ArgumentError as ClassifierConfig::check; MemoryPlanError if config.memory_limit is below the plan: the
///         message holds the table and the knobs that would make it fit.
MemoryPlan plan(const ClassifierConfig& config);

}  // namespace sparsexmc

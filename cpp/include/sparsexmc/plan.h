// Every byte a classifier will hold, computed from its configuration before anything is allocated.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "sparsexmc/config.h"
#include "sparsexmc/export.h"
#include "sparsexmc/memory_pool.h"

namespace sparsexmc {

struct SPARSEXMC_API MemoryPlan {
  std::vector<MemoryEntry> entries;  ///< of the device, in order of allocation, rounded to the pool's granularity
  /// For a model on a GPU: tables that only the host reads, in Context::host_pool(). On the CPU they are `entries`.
  std::vector<MemoryEntry> host_entries;

  /// Bytes of `entries`.
  size_t total() const;
  /// Bytes of the entry of that name; 0 if there is none.
  size_t bytes(const std::string& name) const;
  /// A table for people: name, bytes, share.
  std::string table() const;
};

/// The workers' scratch depends on config.num_threads; 0 resolves as ThreadPool does.
/// @param trainable false: of a classifier that only predicts, see Classifier::load
/// @throws ArgumentError as ClassifierConfig::check; MemoryPlanError if config.memory_limit is below the plan: the
///         message holds the table and the knobs that would make it fit.
SPARSEXMC_API MemoryPlan plan(const ClassifierConfig& config, bool trainable = true);

}  // namespace sparsexmc

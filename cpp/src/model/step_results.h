// Results of training steps that may still run on the device.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>

#include "sparsexmc/classifier.h"

namespace sparsexmc {

/// The outcome of a step, on the device.
struct StepOutcome {
  double loss;            // summed over labels and instances
  double auxiliary_loss;  // summed over clusters and instances
  uint32_t nonfinite;     // not 0: the batch held NaN or Inf, and nothing was changed
};

/// Its buffer.
inline constexpr const char* outcome_name = "batch.outcome";

/// Steps in the order of their calls, each under a ticket: 1, 2, 3... A step is pending until settle() has found its
/// outcome.
class StepResults {
 public:
  /// A pending step: everything that is needed when its outcome comes.
  struct Step {
    int64_t ticket = 0;
    int64_t batch = 0;
    OnNonfinite on_nonfinite = OnNonfinite::raise;
    bool kept = false;  // its batch is among KeptBatches
    bool averaged = false;
    int64_t number = 0;  // of the training
    float lr = 0.0f;
  };

  explicit StepResults(Context& context) : context_(context) {}
  ~StepResults();
  StepResults(const StepResults&) = delete;
  StepResults& operator=(const StepResults&) = delete;

  /// Makes sure of host memory for outcomes, before a step changes anything. @throws MemoryPlanError
  void reserve();
  /// Whether there is no place for one more pending step.
  bool full() const { return pending_.size() == slots; }
  /// The oldest pending step; 0 if there is none.
  int64_t oldest_pending() const { return pending_.empty() ? 0 : pending_.front().step.ticket; }

  /// Adds a step whose result is known. @returns its ticket
  int64_t add(const StepResult& result);
  /// Adds a pending step: `outcome`, on the device, is there when all that is queued so far has run.
  int64_t add(Step step, const StepOutcome* outcome);
  /// Changes the newest result.
  void set_rewired() { results_.back().rewired = true; }

  enum class Settled { none, trained, nonfinite };
  /// Takes over the outcome of the oldest pending step, if there is one and it has run. @param wait until it has run
  /// @param step receives what was said of it
  Settled settle(bool wait, Step& step);

  /// Result of a step that is not pending. @throws ArgumentError for a number that is no ticket, or of long ago
  const StepResult& result(int64_t ticket) const;

 private:
  static constexpr size_t slots = 64;          // steps that may be pending
  static constexpr size_t remembered = 65536;  // results

  struct Pending {
    Step step;
    size_t slot;
    void* event;
  };

  Context& context_;
  Allocation outcomes_;  // [slots], page-locked
  size_t next_slot_ = 0;
  std::deque<Pending> pending_;
  std::deque<StepResult> results_;
  int64_t last_ticket_ = 0;
};

}  // namespace sparsexmc

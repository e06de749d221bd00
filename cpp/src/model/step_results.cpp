#include "model/step_results.h"

#include <string>

#include "device/visit_device.h"
#include "sparsexmc/error.h"

namespace sparsexmc {

StepResults::~StepResults() {
  for (const Pending& pending : pending_)
    if (pending.event != nullptr)
      visit_device(context_.device(), [&](auto tag) { kernels::destroy_event(tag, pending.event); });
}

void StepResults::reserve() {
  if (!outcomes_) outcomes_ = context_.staging().allocate("step.outcomes", slots * sizeof(StepOutcome));
}

int64_t StepResults::add(const StepResult& result) {
  results_.push_back(result);
  if (results_.size() > remembered) results_.pop_front();
  return ++last_ticket_;
}

int64_t StepResults::add(Step step, const StepOutcome* outcome) {
  step.ticket = add(StepResult{});
  Pending& pending = pending_.emplace_back(Pending{step, next_slot_++ % slots, nullptr});
  visit_device(context_.device(), [&](auto tag) {
    kernels::copy_to_host(tag, context_, outcomes_.as<StepOutcome>() + pending.slot, outcome, sizeof *outcome);
    pending.event = kernels::record_event(tag, context_);
  });
  return step.ticket;
}

StepResults::Settled StepResults::settle(bool wait, Step& step) {
  if (pending_.empty()) return Settled::none;
  const Pending pending = pending_.front();
  const bool passed = visit_device(context_.device(), [&](auto tag) {
    if (wait)
      kernels::wait_for_event(tag, pending.event);
    else if (!kernels::event_passed(tag, pending.event))
      return false;
    kernels::destroy_event(tag, pending.event);
    return true;
  });
  if (!passed) return Settled::none;
  pending_.pop_front();
  step = pending.step;
  const StepOutcome& outcome = outcomes_.as<StepOutcome>()[pending.slot];
  StepResult& result = results_[results_.size() - 1 - static_cast<size_t>(last_ticket_ - step.ticket)];
  result.skipped = outcome.nonfinite != 0;
  if (result.skipped) return Settled::nonfinite;
  result.loss = outcome.loss / static_cast<double>(step.batch);
  result.auxiliary_loss = outcome.auxiliary_loss / static_cast<double>(step.batch);
  return Settled::trained;
}

const StepResult& StepResults::result(int64_t ticket) const {
  const int64_t oldest = last_ticket_ - static_cast<int64_t>(results_.size()) + 1;
  if (ticket < oldest || ticket > last_ticket_)
    throw ArgumentError("ticket is " + std::to_string(ticket) + "; known are " + std::to_string(oldest) + ".." +
                        std::to_string(last_ticket_) + ", as start_step returned them");
  return results_[static_cast<size_t>(ticket - oldest)];
}

}  // namespace sparsexmc

#include "sparsexmc/interrupt.h"

#include <utility>

namespace sparsexmc {
namespace {

// Of the thread and not of a Context: readers of text and writers of checkpoints have none.
thread_local const InterruptScope* innermost = nullptr;

}  // namespace

InterruptScope::InterruptScope(std::function<void()> poll) : poll_(std::move(poll)), outer_(innermost) {
  innermost = this;
}

InterruptScope::~InterruptScope() { innermost = outer_; }

void InterruptScope::check() {
  if (innermost != nullptr && innermost->poll_) innermost->poll_();
}

}  // namespace sparsexmc

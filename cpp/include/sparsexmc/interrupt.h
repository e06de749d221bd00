// How a program ends a call that takes long.
#pragma once

#include <functional>

#include "sparsexmc/export.h"

namespace sparsexmc {

/// While it lives, long calls of this thread call `poll` between pieces of their work, several times a second or far
/// more often. What it throws ends the call: predictions, files and orders of labels are not made, a model is as it
/// was. A training step is one piece. `poll` may itself use the objects of the call, as a handler of a signal does.
class SPARSEXMC_API InterruptScope {
 public:
  explicit InterruptScope(std::function<void()> poll);
  ~InterruptScope();
  InterruptScope(const InterruptScope&) = delete;
  InterruptScope& operator=(const InterruptScope&) = delete;

  /// Calls the poll of the innermost scope of this thread, if there is one: for long work, where leaving by an
  /// exception leaves nothing half done.
  static void check();

 private:
  std::function<void()> poll_;
  const InterruptScope* outer_;
};

}  // namespace sparsexmc

// Work without the GIL: at the interpreter's exit, and when a signal comes.
#pragma once

#include <nanobind/nanobind.h>
#include <unistd.h>

#include <functional>

#include "sparsexmc/interrupt.h"

namespace sparsexmc::python {

/// Takes the GIL by `take`, or sleeps for ever. Before version 3.14 Python ends a thread that wants the GIL when the
/// interpreter is on its way out, by unwinding its stack: through C++ frames that let nothing through, which would
/// abort the process and its exit code with it. Here the unwinding ends, and the thread with the process.
template <class Take>
auto take_gil(const Take& take) noexcept {
  try {
    return take();
  } catch (...) {
    for (;;) pause();
  }
}

/// Holds the GIL in a thread that had given it away.
class WithGil {
 public:
  WithGil() : state_(take_gil(PyGILState_Ensure)) {}
  ~WithGil() { PyGILState_Release(state_); }
  WithGil(const WithGil&) = delete;
  WithGil& operator=(const WithGil&) = delete;

 private:
  PyGILState_STATE state_;
};

/// Calls the handlers of signals that came, a few times a second at most; what one raises is thrown.
std::function<void()> signal_poll();

/// Gives the GIL away; long calls of the scope can be interrupted by Ctrl-C and every other signal with a handler.
class WithoutGil {
 public:
  WithoutGil() : state_(PyEval_SaveThread()), scope_(signal_poll()) {}
  ~WithoutGil() {
    take_gil([this] { PyEval_RestoreThread(state_); });
  }
  WithoutGil(const WithoutGil&) = delete;
  WithoutGil& operator=(const WithoutGil&) = delete;

 private:
  PyThreadState* state_;
  InterruptScope scope_;
};

}  // namespace sparsexmc::python

#include "gil.h"

#include <chrono>

namespace sparsexmc::python {

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds interval{100};  // taking the GIL can take as long as another thread likes

}  // namespace

std::function<void()> signal_poll() {
  return [next = Clock::now() + interval]() mutable {
    if (Clock::now() < next) return;
    {
      const WithGil gil;
      if (PyErr_CheckSignals() != 0) throw nanobind::python_error();
    }
    next = Clock::now() + interval;
  };
}

}  // namespace sparsexmc::python

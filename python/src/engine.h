// A classifier that Python threads may share, and what its queued work still reads.
#pragma once

#include <nanobind/nanobind.h>

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "call_lock.h"
#include "gil.h"
#include "sparsexmc/classifier.h"
#include "sparsexmc/event.h"

namespace sparsexmc::python {

/// A cudaStream_t as a number; 0, the default stream, on the CPU.
using StreamHandle = uintptr_t;

inline Stream to_stream(StreamHandle handle) { return {reinterpret_cast<void*>(handle)}; }

/// Runs the work of a context on another stream for the length of a scope, after all earlier work of the context and
/// before all later: nothing of ours is left to do on a stream that its owner may destroy then.
class StreamScope {
 public:
  StreamScope(Context& context, Stream stream) : context_(context), before_(context.stream()) {
    if (context.device().kind == DeviceKind::cuda) context.set_stream(stream);
  }
  ~StreamScope() {
    try {
      context_.set_stream(before_);
    } catch (const std::exception&) {  // the device has failed, which the next call finds out too
    }
  }
  StreamScope(const StreamScope&) = delete;
  StreamScope& operator=(const StreamScope&) = delete;

 private:
  Context& context_;
  Stream before_;  // the own one, or that of a call which a handler of a signal has interrupted
};

/// One call at a time, each without the GIL and open to signals between pieces of its work.
class Engine {
 public:
  explicit Engine(Classifier classifier) : classifier_(std::move(classifier)) {}

  /// body(classifier) must not touch Python objects.
  template <class Body>
  auto call(Body&& body) {
    let_go();
    const WithoutGil released;
    const std::lock_guard lock(lock_);
    return body(classifier_);
  }
  /// The same with the work of `body` on a stream of the caller.
  template <class Body>
  auto call_on(StreamHandle stream, Body&& body) {
    return call([&](Classifier& c) {
      const StreamScope scope(c.context(), to_stream(stream));
      return body(c);
    });
  }

  /// Keeps other threads out, unless a call goes on for longer than `seconds`. @returns whether it did
  bool begin_fork(double seconds) {
    const WithoutGil released;
    return lock_.try_lock_for(std::chrono::duration<double>(seconds));
  }
  void end_fork() { lock_.unlock(); }

  /// Keeps what queued work reads or writes until a later call finds that `done` has passed. Needs the GIL.
  void hold(Event done, std::vector<std::shared_ptr<void>> what) {
    held_.push_back({std::move(done), std::move(what)});
  }

 private:
  struct Held {
    Event done;
    std::vector<std::shared_ptr<void>> what;
  };

  void let_go() {
    while (!held_.empty() && held_.front().done.passed()) {
      const Held gone = std::move(held_.front());  // whose owners may call us
      held_.pop_front();
    }
  }

  CallLock lock_{"classifier"};
  std::deque<Held> held_;  // goes after the classifier, which waits for its work
  Classifier classifier_;
};

}  // namespace sparsexmc::python

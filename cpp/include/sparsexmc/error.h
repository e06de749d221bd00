// Typed errors. Every public entry throws one of these before it touches any state.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

#include "sparsexmc/export.h"

namespace sparsexmc {

/// Base of all errors of this library.
class SPARSEXMC_API Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// An argument has the wrong value, shape or layout. The message names the argument, what came and the remedy.
class SPARSEXMC_API ArgumentError : public Error {
 public:
  using Error::Error;
};

/// A training has diverged: the loss of a batch of finite numbers is NaN or Inf, as weights or sums have overflowed.
/// The learning rate is too high, or numbers are too large. Unlike after every other ArgumentError the model has
/// changed: load the last good checkpoint.
class SPARSEXMC_API DivergenceError : public ArgumentError {
 public:
  using ArgumentError::ArgumentError;
};

/// An argument has the wrong dtype or kind (Python: TypeError).
class SPARSEXMC_API TypeError : public Error {
 public:
  using Error::Error;
};

/// The planned bytes, or a request at run time, exceed the memory limit (Python: MemoryError).
class SPARSEXMC_API MemoryPlanError : public Error {
 public:
  using Error::Error;
};

/// A device is missing, unusable or failed.
class SPARSEXMC_API DeviceError : public Error {
 public:
  using Error::Error;
};

/// A data file is malformed; the message begins with "file:line: ".
class SPARSEXMC_API DataError : public Error {
 public:
  DataError(const std::string& file, int64_t line, const std::string& what)
      : Error(file + ":" + std::to_string(line) + ": " + what) {}
};

/// A checkpoint is missing, truncated, edited, of a foreign format, or cannot be written.
class SPARSEXMC_API CheckpointError : public Error {
 public:
  using Error::Error;
};

}  // namespace sparsexmc

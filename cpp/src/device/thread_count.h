// How many threads a pool gets.
#pragma once

namespace sparsexmc {

/// CPUs that this process may use: containers and batch systems hand out fewer than the machine has.
int usable_cpus();

/// The argument of ThreadPool as a number of threads.
/// @throws ArgumentError for a number outside 0..ThreadPool::max_threads or a malformed environment variable
int resolve_threads(int num_threads);

}  // namespace sparsexmc

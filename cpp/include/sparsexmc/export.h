// The mark of everything that the shared library exports: a class or function with SPARSEXMC_API. Everything else in it
// is hidden.
#pragma once

#define SPARSEXMC_API __attribute__((visibility("default")))
/// For a class inside an exported one, which would be exported with it.
#define SPARSEXMC_HIDDEN __attribute__((visibility("hidden")))

// Runs a check in every order that the shim knows.
#pragma once

#include <doctest/doctest.h>

#include <string>

#include "host_shim.h"

/// ThreadSanitizer sees a race in any order, and takes about a millisecond for every thread of a block.
#if defined(__SANITIZE_THREAD__)
inline constexpr bool under_tsan = true;
#else
inline constexpr bool under_tsan = false;
#endif

template <class Check>
void in_all_orders(Check check) {
  for (const char* order : {"random:1", "forward", "reverse", "random:2"}) {
    INFO(std::string(order));
    REQUIRE(sparsexmc_shim_set_order(order));
    check();
    if (under_tsan) break;
  }
  sparsexmc_shim_set_order("forward");
}

// Runs a check in every order that the shim knows.
#pragma once

#include <doctest/doctest.h>

#include "host_shim.h"

template <class Check>
void in_all_orders(Check check) {
  for (const char* order : {"forward", "reverse", "random:1", "random:2"}) {
    CAPTURE(order);
    REQUIRE(sparsexmc_shim_set_order(order));
    check();
  }
  sparsexmc_shim_set_order("forward");
}

#!/bin/sh
# Writes the type stubs of the C++ module anew; tests/test_stubs.py fails while they are stale.
# Needs sparsexmc and nanobind in the running Python environment.
set -eu
cd "$(dirname "$0")/.."
python3 -m nanobind.stubgen -q -m sparsexmc._core -o python/sparsexmc/_core.pyi

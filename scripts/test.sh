#!/usr/bin/env bash
# Installs sparsexmc into .venv and runs all tests, the slow ones included. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/env.sh
prepare_venv "[test]"
prepare_torch
PATH=$PWD/.venv/bin:$PATH  # cmake and ninja for the tests that build C++ programs
exec python -m pytest "$@"

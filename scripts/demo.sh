#!/usr/bin/env bash
# Installs sparsexmc into .venv and trains on the built-in data set. Arguments go to `sparsexmc train --demo`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/env.sh
prepare_venv ""
exec .venv/bin/sparsexmc train --demo "$@"

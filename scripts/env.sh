# Sourced by the other scripts, from the repository root: makes .venv ready. Quick when nothing changed since last time.

# What a plain `pip install .` would do with nvcc on PATH, compile for every architecture, takes minutes.
cuda_setting() {
  if nvidia-smi --list-gpus 2>/dev/null | grep -q '^GPU'; then
    echo cmake.define.CMAKE_CUDA_ARCHITECTURES=native
  else
    echo cmake.define.SPARSEXMC_CUDA=OFF
  fi
}

# prepare_venv <extras>: installs this tree into .venv with "", "[test]" or "[dev]", which includes "[test]".
prepare_venv() {
  local extras=$1 had="" stamp=.venv/installed.txt sources newer
  sources=(CMakeLists.txt pyproject.toml cmake cpp python third_party)
  [[ -x .venv/bin/python ]] || python3 -m venv .venv
  if [[ -e $stamp ]]; then
    had=$(<"$stamp")
    [[ -z $extras || $had == "[dev]" ]] && extras=$had  # never fewer than last time
    newer=$(find "${sources[@]}" -type f -not -name '*.pyc' -newer "$stamp" -print -quit)
    [[ $extras == "$had" && -z $newer ]] && return
  fi
  echo "Installing .$extras into .venv (compiles the engine: some minutes the first time)" >&2
  touch .venv/started
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --config-settings="$(cuda_setting)" ".$extras"
  echo "$extras" >"$stamp"
  touch --reference=.venv/started "$stamp"
}

# prepare_torch: for the tests that hand tensors over.
prepare_torch() {
  .venv/bin/python -c 'import sys, importlib.util; sys.exit(importlib.util.find_spec("torch") is None)' && return
  .venv/bin/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
}

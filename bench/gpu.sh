#!/usr/bin/env bash
# What to do on a machine with a GPU, in three parts that can be called one by one. Each takes less than nine minutes,
# needs no network and no file that git ignores, and ends with a short table that says what to decide.
#
#   bash bench/gpu.sh                 # all three, in one budget
#   bash bench/gpu.sh contact         # versions, what the tests without a GPU take for granted, build, tests/test_cuda.py
#   bash bench/gpu.sh speed           # the goal's shape as one kernel and as two, stall reasons, then the grid
#   bash bench/gpu.sh sanitizer       # memcheck, racecheck and synccheck
#
# Needs nvcc and a Python with PyTorch, scikit-build-core, nanobind, CMake, ninja, NumPy, SciPy, tqdm and pytest.
# Logs and results, seven files at most, lie flat in $OUT (build/gpu).
# BUDGET: seconds for the call (510). ARCHITECTURES: what to compile for (native), such as 90.
# DRY_RUN=1: the same on the host shim, with tiny sizes, to test this script without a GPU; its figures mean nothing.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export OUT=${OUT:-build/gpu} ARCHITECTURES=${ARCHITECTURES:-native} DRY_RUN=${DRY_RUN:-}
site_folder=build/gpu-site
[[ -z $DRY_RUN ]] || site_folder=build/shim-site
export SITE=$PWD/$site_folder PYTHONUNBUFFERED=1 PYTHONPATH=$PWD/$site_folder
budget=${BUDGET:-510}
mkdir -p build "$OUT"
export PATH=$PATH:/usr/local/cuda/bin
# cuBLAS of PyTorch's wheels, for a process that has not loaded PyTorch.
SPARSEXMC_CUBLAS_DIR=${SPARSEXMC_CUBLAS_DIR:-$(python3 -c '
import glob, site
print(next(iter(sorted(glob.glob(site.getsitepackages()[0] + "/nvidia/cu*/lib"), reverse=True)), ""))')}
export SPARSEXMC_CUBLAS_DIR
parts=${*:-contact speed sanitizer}
failed=()
summary=()

section() {  # section <function> <most seconds> <log> <lines to show> <decision if it failed>: runs the function
  local name=$1 limit=$2 log=$OUT/$3 left=$((budget - SECONDS)) begin=$SECONDS status verdict lines
  [[ -z $DRY_RUN ]] || limit=$((limit * 5))  # a compiler on two cores, kernels on one
  ((limit < left)) || limit=$left
  if ((limit < 5)); then
    failed+=("$name")
    summary+=("$name: no time left; call this part alone")
    return 1
  fi
  printf '\n==== %s (%d s since start, %d s at most)\n' "$name" "$SECONDS" "$limit"
  touch "$log"
  lines=$(wc -l <"$log")
  LIMIT=$limit timeout --kill-after=5 "$limit" bash -euo pipefail -c "$name" >>"$log" 2>&1
  status=$?
  tail -n +$((lines + 1)) "$log" | tail -n "$4" | cut -c1-220
  if [[ $(stat -c %s "$log") -gt 8000000 ]]; then  # what comes back from a lent machine is limited
    { head -c 4000000 "$log"; printf '\n[...]\n'; tail -c 4000000 "$log"; } >"$log.short"
    mv "$log.short" "$log"
  fi
  case $status in
    0) verdict=ok ;;
    124 | 137) verdict="OUT OF TIME: $5" ;;
    *) verdict="FAILED ($status): $5" ;;
  esac
  [[ $status == 0 ]] || failed+=("$name")
  summary+=("$name: $verdict; $((SECONDS - begin)) s, $log")
  return $((status != 0))
}

versions() {
  nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm --format=csv || true
  nvcc --version | tail -n 2 || [[ -n $DRY_RUN ]]
  python3 - <<'PYTHON'
import sys
from importlib import metadata

print("Python", sys.version.split()[0])
for package in ("torch", "cupy-cuda13x", "cupy-cuda12x", "nanobind", "scikit-build-core", "numpy", "scipy", "pytest"):
    try:
        print(package, metadata.version(package))
    except metadata.PackageNotFoundError:
        print(package, "MISSING" if not package.startswith("cupy") else "not there")
PYTHON
}

first_contact() {
  [[ -z $DRY_RUN ]] || { echo "the shim has the same checks in its C++ tests"; return 0; }
  [[ $ARCHITECTURES == native ]] || local architecture=sm_$ARCHITECTURES
  nvcc -std=c++20 -O2 -arch="${architecture:-native}" -Icpp/include -Icpp/kernels -Itests/cpp bench/first_contact.cu \
    cpp/kernels/cuda/cublas.cpp -o build/first_contact -ldl
  build/first_contact
}

# For this card alone. Kept, if the sources have not changed since.
build() {
  local stamp=$SITE/built newer
  if [[ -e $stamp ]]; then
    newer=$(find CMakeLists.txt cmake cpp python pyproject.toml -type f -not -name '*.pyc' -newer "$stamp" -print -quit)
    [[ -n $newer ]] || { echo "built before, and nothing has changed"; return 0; }
  fi
  local options=(-C "cmake.define.CMAKE_CUDA_ARCHITECTURES=$ARCHITECTURES" -C cmake.define.SPARSEXMC_CUDA=ON
    # For the sanitizer and the profiler, and registers of every kernel in the log; the code stays the same.
    -C "cmake.define.CMAKE_CUDA_FLAGS=-lineinfo -Xptxas=-v" -C build-dir=build/gpu-tree)
  [[ -z $DRY_RUN ]] || options=(-C cmake.define.SPARSEXMC_CUDA=SHIM -C build-dir=build/shim-wheel)
  rm -rf "$SITE"
  rm -f "$OUT"/*.json "$OUT"/*.md  # figures of other kernels
  time python3 -m pip install --no-build-isolation --no-deps --no-index --disable-pip-version-check --verbose \
    --target "$SITE" -C build.verbose=true -C install.strip=false "${options[@]}" .
  touch "$stamp"
  python3 -c 'import sparsexmc; print(sparsexmc.__version__, sparsexmc.__file__)'
  python3 -m sparsexmc doctor
}

tests() {
  local plugins=(-p no:cacheprovider --maxfail=25 --durations=8 --tb=short -v)
  python3 -c 'import xdist' 2>/dev/null && plugins+=(-n 8)
  # A kernel that hangs costs one test.
  python3 -c 'import pytest_timeout' 2>/dev/null && plugins+=(--timeout 90 --timeout-method thread)
  if [[ -n $DRY_RUN ]]; then
    python3 -m pytest "${plugins[@]}" tests/test_cuda_shim.py -k "g3_padding and not suite"
  else
    XLA_PYTHON_CLIENT_PREALLOCATE=false python3 -m pytest "${plugins[@]}" -m gpu tests/test_cuda.py
  fi
}

step_benchmark() {
  local sizes=()
  [[ -z $DRY_RUN ]] || sizes=(--dry-run --labels 203 --features 64 --batch 8 --fan-in 8 --group-size 16)
  python3 bench/bench_step.py --device cuda --resume --seconds $((LIMIT - 15)) --out "$OUT" "${sizes[@]}" "$@"
}
goal() { step_benchmark --goal; }
grid() { step_benchmark --quick; }
verdict() { python3 bench/gpu_verdict.py "$OUT"; }

# The kernels' times, then one launch of the fused kernel with the reasons for which its warps wait.
stalls() {
  if [[ -n $DRY_RUN ]]; then
    python3 bench/profile_step.py --dry-run --bare --steps 1 --labels 203 --features 64 --batch 8 --fan-in 8
    return
  fi
  timeout --kill-after=5 $((LIMIT / 3)) python3 bench/profile_step.py
  command -v ncu >/dev/null || { echo "no ncu here: no stall reasons"; return 0; }
  timeout --kill-after=5 $((LIMIT * 2 / 3)) ncu --clock-control none --kernel-name 'regex:group_step|group_update' \
    --launch-skip 4 --launch-count 1 --section SpeedOfLight --section MemoryWorkloadAnalysis --section Occupancy \
    --section SchedulerStats --section WarpStateStats --section LaunchStats python3 bench/profile_step.py --bare --steps 2
}

sanitize() {
  local tool wrong=0
  if [[ -n $DRY_RUN ]]; then
    python3 bench/small_shapes.py
    return
  fi
  for tool in memcheck racecheck synccheck; do
    echo "---- $tool"
    PYTORCH_NO_CUDA_MEMORY_CACHING=1 timeout --kill-after=5 $((LIMIT / 3)) compute-sanitizer --tool "$tool" \
      --error-exitcode 99 --print-limit 20 python3 bench/small_shapes.py || {
      echo "---- $tool ended with $?"
      wrong=1
    }
  done
  return $wrong
}

contact() {
  section versions 20 device.log 14 "no driver, nvcc or Python here: this machine cannot build" || return 1
  section first_contact 60 device.log 24 "the shim's tests prove nothing until it passes: mend tests/shim and what it stands for"
  section build 200 device.log 6 "see the compiler's errors; nothing below can run" || return 1
  section tests 240 tests.log 20 "mend what fails before any figure is believed"
}
speed() {
  section build 200 device.log 6 "call the part 'contact' first" || return 1
  section goal 120 step.log 40 "no figures for the goal's shape: see the log"
  section stalls 75 stalls.log 45 "no stall reasons; the times above stand"
  section grid 400 step.log 4 "the grid is not complete: call this part again, it goes on"
}
sanitizer() {
  section build 200 device.log 6 "call the part 'contact' first" || return 1
  section sanitize 300 sanitizer.log 16 "a race or a bad access: mend it before any figure is believed"
}

export -f versions first_contact build tests step_benchmark goal grid stalls sanitize
for part in $parts; do
  case $part in
    contact | speed | sanitizer) ;;
    *) echo "no part '$part': contact, speed or sanitizer" >&2; exit 2 ;;
  esac
done
for part in $parts; do "$part"; done

printf '\n==== What to decide, after %d s; files in %s\n' "$SECONDS" "$OUT"
printf '%s\n' "${summary[@]}"
[[ " $parts " != *" speed "* ]] || verdict
if [[ ${#failed[@]} != 0 ]]; then
  echo "FAILED: ${failed[*]}"
  exit 1
fi
echo "all passed"

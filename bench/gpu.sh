#!/usr/bin/env bash
# Everything there is to do on a machine with a GPU, in under nine minutes and without a network: first contact, build,
# tests, benchmark, sanitizer, profile, and the rest of the benchmark's grid in what time is left. A section that fails or
# runs out of time does not stop the others. Logs and results lie flat in $OUT (build/gpu).
#
#   bash bench/gpu.sh                 # all sections
#   bash bench/gpu.sh build bench     # some; `build` makes what the later ones use
#
# Needs nvcc and a Python with PyTorch, scikit-build-core, nanobind, CMake, ninja, NumPy, SciPy, tqdm and pytest.
# BUDGET: seconds for all (510). ARCHITECTURES: what to compile for (native), such as 90.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export OUT=${OUT:-build/gpu} ARCHITECTURES=${ARCHITECTURES:-native}
export SITE=$PWD/build/gpu-site PYTHONUNBUFFERED=1 PYTHONPATH=$PWD/build/gpu-site
budget=${BUDGET:-510}
mkdir -p build "$OUT"
export PATH=$PATH:/usr/local/cuda/bin
# cuBLAS of PyTorch's wheels, for a process that has not loaded PyTorch.
SPARSEXMC_CUBLAS_DIR=${SPARSEXMC_CUBLAS_DIR:-$(python3 -c '
import glob, site
print(next(iter(sorted(glob.glob(site.getsitepackages()[0] + "/nvidia/cu*/lib"), reverse=True)), ""))')}
export SPARSEXMC_CUBLAS_DIR
wanted=${*:-first_contact build tests bench sanitizer profile grid}
failed=()
summary=()

section() {  # section <name> <most seconds> <log>: runs the function of that name
  local name=$1 limit=$2 log=$OUT/$3 left=$((budget - SECONDS)) begin=$SECONDS status verdict
  [[ " $wanted " == *" $name "* ]] || return 0
  ((limit < left)) || limit=$left
  if ((limit < 5)); then
    failed+=("$name")
    summary+=("$name: no time left")
    return 0
  fi
  printf '\n==== %s (%d s since start, %d s at most)\n' "$name" "$SECONDS" "$limit"
  LIMIT=$limit timeout --kill-after=5 "$limit" bash -euo pipefail -c "$name" >>"$log" 2>&1
  status=$?
  if [[ $(stat -c %s "$log") -gt 8000000 ]]; then  # what comes back from a lent machine is limited
    { head -c 4000000 "$log"; printf '\n[...]\n'; tail -c 4000000 "$log"; } >"$log.short"
    mv "$log.short" "$log"
  fi
  case $status in
    0) verdict=ok ;;
    124 | 137) verdict="OUT OF TIME" ;;
    *) verdict="FAILED ($status)" ;;
  esac
  [[ $status == 0 ]] || failed+=("$name")
  summary+=("$name: $verdict, $((SECONDS - begin)) s, $log")
  tail -n "${4:-12}" "$log" | cut -c1-220
}

first_contact() {
  nvidia-smi || true
  nvcc --version | tail -n 2
  python3 -c 'import sys, torch; print("Python", sys.version.split()[0], "PyTorch", torch.__version__)'
  [[ $ARCHITECTURES == native ]] || local architecture=sm_$ARCHITECTURES
  nvcc -std=c++20 -O2 -arch="${architecture:-native}" -Icpp/include -Icpp/kernels -Itests/cpp bench/first_contact.cu \
    cpp/kernels/cuda/cublas.cpp -o build/first_contact -ldl
  build/first_contact
}

build() {
  rm -rf "$SITE"
  # -lineinfo for the sanitizer and the profiler; the code stays the same.
  time python3 -m pip install --no-build-isolation --no-deps --no-index --disable-pip-version-check --verbose \
    --target "$SITE" -C build-dir=build/gpu-tree -C build.verbose=true -C install.strip=false \
    -C cmake.define.SPARSEXMC_CUDA=ON -C "cmake.define.CMAKE_CUDA_ARCHITECTURES=$ARCHITECTURES" \
    -C "cmake.define.CMAKE_CUDA_FLAGS=-lineinfo -Xptxas=-v" .  # ptxas: registers of every kernel, in the log
  python3 -c 'import sparsexmc; print(sparsexmc.__version__, sparsexmc.__file__)'
  python3 -m sparsexmc doctor
}

tests() {
  local plugins=()
  python3 -c 'import xdist' 2>/dev/null && plugins+=(-n 8)
  # A kernel that hangs costs one test.
  python3 -c 'import pytest_timeout' 2>/dev/null && plugins+=(--timeout 90 --timeout-method thread)
  XLA_PYTHON_CLIENT_PREALLOCATE=false python3 -m pytest "${plugins[@]}" -m gpu -p no:cacheprovider --maxfail=25 \
    --durations=8 --tb=short -v tests
}

bench() {
  python3 bench/bench_step.py --device cuda --quick --seconds $((LIMIT - 15)) --out "$OUT"
}

grid() { python3 bench/bench_step.py --device cuda --resume --seconds $((LIMIT - 15)) --out "$OUT"; }

sanitizer() {
  local tool wrong=0
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

profile() {
  python3 bench/profile_step.py
  command -v ncu >/dev/null || return 0
  timeout --kill-after=5 $((LIMIT / 2)) ncu --clock-control none --kernel-name 'regex:group_step|group_update' \
    --launch-skip 4 --launch-count 1 --section SpeedOfLight --section MemoryWorkloadAnalysis --section Occupancy \
    --section SchedulerStats --section WarpStateStats --section LaunchStats python3 bench/profile_step.py --bare --steps 2
}

export -f first_contact build tests bench grid sanitizer profile
section first_contact 60 device.log 24
section build 200 build.log 6
section tests 150 tests.log 20
section bench 140 bench.log 40
section sanitizer 100 sanitizer.log 16
section profile 45 profile.log 45
section grid 400 bench.log 4

printf '\n==== Summary after %d s; files in %s\n' "$SECONDS" "$OUT"
printf '%s\n' "${summary[@]}"
if [[ ${#failed[@]} != 0 ]]; then
  echo "FAILED: ${failed[*]}"
  exit 1
fi
echo "all sections passed"

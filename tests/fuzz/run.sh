#!/usr/bin/env bash
# run.sh [seconds]: every libFuzzer target of build/fuzz for that long, from its corpus. What makes one fail is left in
# build/fuzz. New inputs are not kept: `build/fuzz/fuzz_text tests/fuzz/corpus/text` grows a corpus.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
for target in text json manifest safetensors labels; do
  found=$(mktemp -d)
  "build/fuzz/fuzz_$target" -max_total_time="${1:-20}" -timeout=10 -rss_limit_mb=2048 -max_len=65536 -print_final_stats=1 \
    -artifact_prefix="build/fuzz/$target-" "$found" "tests/fuzz/corpus/$target" >"build/fuzz/$target.log" 2>&1 ||
    { tail -n 60 "build/fuzz/$target.log"; exit 1; }
  echo "$target: $(sed -n 's/^stat::number_of_executed_units: *//p' "build/fuzz/$target.log") inputs, no fault"
  rm -r "$found"
done

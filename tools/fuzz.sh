#!/usr/bin/env bash
# Builds every libFuzzer target and runs each for SECONDS. Usage: tools/fuzz.sh [SECONDS]
# A target's seeds are tests/fuzz/<target>/ where that folder exists; findings stay in build/fuzz.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-10}
cmake --preset fuzz >/dev/null
cmake --build build/fuzz -j "$(nproc)" --target fuzzers >build/fuzz/build.log 2>&1 || { tail -n 40 build/fuzz/build.log; exit 1; }
count=0
for target in build/fuzz/fuzz/*_fuzz; do
  [ -x "$target" ] || continue
  name=$(basename "$target")
  corpus=build/fuzz/corpus/$name
  mkdir -p "$corpus"
  seeds=()
  [ -d "tests/fuzz/$name" ] && seeds=("tests/fuzz/$name")
  log=build/fuzz/$name.log
  if ! "$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
       -artifact_prefix="build/fuzz/$name-" "$corpus" "${seeds[@]}" >"$log" 2>&1; then
    tail -n 60 "$log"
    echo "fuzz: $name failed; see $log"
    exit 1
  fi
  echo "fuzz: $name ${seconds}s, $(grep -oP 'number_of_executed_units:\s*\K\d+' "$log") inputs, no finding"
  count=$((count + 1))
done
echo "fuzz: $count targets clean"

#!/usr/bin/env bash
# Builds every libFuzzer target and runs each for SECONDS, one on each core at a time. Usage: tools/fuzz.sh [SECONDS]
# A target's seeds are tests/fuzz/<target>/ where that folder exists; findings stay in build/fuzz.
set -euo pipefail
cd "$(dirname "$0")/.."
export SECONDS_EACH=${1:-10}

run_target() {
  local target=$1 name seeds=()
  name=$(basename "$target")
  local corpus=build/fuzz/corpus/$name log=build/fuzz/$name.log
  mkdir -p "$corpus"
  [ ! -d "tests/fuzz/$name" ] || seeds=("tests/fuzz/$name")
  if "$target" -max_total_time="$SECONDS_EACH" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
    -artifact_prefix="build/fuzz/$name-" "$corpus" "${seeds[@]}" >"$log" 2>&1; then
    echo "fuzz: $name ${SECONDS_EACH}s, $(grep -oP 'number_of_executed_units:\s*\K\d+' "$log") inputs, no finding"
  else
    tail -n 60 "$log"
    echo "fuzz: $name failed; see $log"
    return 1
  fi
}
export -f run_target

cmake --preset fuzz >/dev/null
cmake --build build/fuzz -j "$(nproc)" --target fuzzers >build/fuzz/build.log 2>&1 || { tail -n 40 build/fuzz/build.log; exit 1; }
mapfile -t targets < <(find build/fuzz/fuzz -name '*_fuzz' -type f -executable | sort)
printf '%s\0' "${targets[@]}" | xargs -0 -n 1 -P "$(nproc)" bash -c 'run_target "$1"' _
echo "fuzz: ${#targets[@]} targets clean"

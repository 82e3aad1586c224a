#!/usr/bin/env bash
# `make test`: format, build, the whole suite, then a short run of every fuzzer.
set -euo pipefail
cd "$(dirname "$0")/.."
make -s format-check
cmake --preset dev >/dev/null
cmake --build build/dev -j "$(nproc)"
tools/fuzz.sh "${FUZZ_SECONDS:-10}"
ctest --test-dir build/dev --output-on-failure -j 2

#!/usr/bin/env bash
# `make test`: format, build, a short run of every fuzzer, the kernels' tests on an emulated 64-bit Arm,
# then the whole suite.
set -euo pipefail
cd "$(dirname "$0")/.."
make -s format-check
cmake --preset dev >/dev/null
cmake --build build/dev -j "$(nproc)"
tools/fuzz.sh "${FUZZ_SECONDS:-10}"
cmake --preset neon >/dev/null
cmake --build build/neon -j "$(nproc)"
ctest --preset neon -j 2  # but for the scalar set, and for a test that limits its memory, which qemu does not heed
ctest --test-dir build/dev --output-on-failure -j 2

#!/usr/bin/env bash
# Tests and measures the 1-bit products on this machine's GPU, in some three minutes at most. Builds
# nothing; before it, here or on a machine without a GPU:
#   cmake --preset cuda-kernels
#   cmake --build build/cuda-kernels --target cuda_kernels_test bench_cuda
# Usage: bench/cuda.sh [FOLDER]
#
# FOLDER (build/cuda-kernels/bin) holds the two programs, and may hold shared libraries that this
# machine lacks: libfmt, libcublas.
set -euo pipefail
cd "$(dirname "$0")/.."

bin=${1:-build/cuda-kernels/bin}
export LD_LIBRARY_PATH=$bin${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
nvidia-smi --query-gpu=name,driver_version,clocks.sm,clocks.mem --format=csv
"$bin/cuda_kernels_test" --gtest_brief=1
"$bin/bench_cuda"

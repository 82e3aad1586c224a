#!/usr/bin/env bash
# Our speed beside llama.cpp's, both sides in turns on this machine: matrix products that no cache
# holds, then whole models with random weights, prompt and generation.
# Usage: bench/peers.sh [avx512|avx2] [SHAPE…]   (a shape of bench/random_model.py; default: smollm2 7b)
#
# avx2 builds llama.cpp without AVX-512 and forces our AVX2 kernels. Needs tools/setup_reference.sh.
# Environment: ROUNDS (5), THREADS (1,2).
# Models are made in demo/random and kept: about 8 GB for both shapes.
set -euo pipefail
cd "$(dirname "$0")/.."

isa=${1:-avx512}
shift || true
shapes=("$@")
[ ${#shapes[@]} -gt 0 ] || shapes=(smollm2 7b)
rounds=${ROUNDS:-5}
threads=${THREADS:-1,2}
tools/accept/build_llama_cpp.sh avx512 llama-bench >/dev/null  # what bench_kernels is linked with
peer=$(tools/accept/build_llama_cpp.sh "$isa" llama-bench)
cmake --preset bench >&2
cmake --build --preset bench --target bench_kernels onebit >&2
bin=build/bench/bin
models=demo/random
mkdir -p "$models"

model() {  # SHAPE TYPE HEAD: the file, made when it is not there
  local file=$models/$1-$2-$3.gguf
  [ -e "$file" ] || .deps/reference/bin/python bench/random_model.py --shape "$1" --type "$2" --head "$3" -o "$file"
  echo "$file"
}

for tokens in 1 512; do
  for shape in "4096 4096" "11008 4096" "4096 11008"; do
    read -r rows cols <<<"$shape"
    [ "$tokens" = 1 ] || [ "$shape" = "4096 4096" ] || continue
    LD_LIBRARY_PATH=$(dirname "$peer") "$bin/bench_kernels" --rows "$rows" --cols "$cols" --tokens "$tokens" \
        --rounds "$rounds" --threads "$threads" --isa "$isa"
    echo
  done
done

for shape in "${shapes[@]}"; do
  # Blocks of 128 and 256 weights do not fit SmolLM2's rows of 576.
  types=(q1_0 tq2_0 q4_0)
  [ "$shape" != smollm2 ] || types=(q4_0 q8_0 f16)
  for round in $(seq "$rounds"); do
    echo "round $round"
    ONEBIT_ISA=$isa "$bin/onebit" bench "$(model "$shape" onebit q8_0)" -p 512 -n 64 -r 1 -t "$threads" | grep '^|'
    for type in "${types[@]}"; do
      "$peer" -m "$(model "$shape" "$type" q8_0)" -p 512 -n 64 -r 1 -t "$threads" 2>/dev/null | grep '^| llama'
    done
  done
done

#!/usr/bin/env bash
# `make demo`: the main job on a real model. Makes SmolLM2-135M-Instruct 1-bit, distils it for some
# minutes on prose and on text of its own, and ends with one table that compares the three models.
# Everything it makes is in demo/; what is there already is not made again (remove the folder to begin anew).
# Usage: tools/demo.sh [SEED]
set -euo pipefail
cd "$(dirname "$0")/.."

seed=${1:-0}
out=demo/seed-$seed
teacher=.deps/models/smollm2-135m-instruct.gguf
python=.deps/venv/bin/python
onebit=build/dev/bin/onebit
STEPS=${ONEBIT_DEMO_STEPS:-45}
SYNTH=${ONEBIT_DEMO_SYNTH:-48}
WINDOWS=16  # of 512 tokens: 8,176 predicted
PROMPT="The old house stood at the end of the village, and"
began=$(date +%s)

step() {
  local now=$(($(date +%s) - began))
  printf '\n[%d/6, %d:%02d] %s\n' "$1" $((now / 60)) $((now % 60)) "$2"
}

step 1 "build (3 minutes from nothing)"
cmake --preset dev >/dev/null
cmake --build build/dev -j "$(nproc)" --target onebit onebit-toolkit

step 2 "text: five novels to train on, a sixth kept out, $SYNTH samples by the model itself (1 minute)"
mkdir -p "$out"
tools/novels.sh demo/novels
[ -f demo/synth.jsonl ] ||
  "$onebit" synth "$teacher" -o demo/synth.jsonl --samples "$SYNTH" --length 256 --seed 0

step 3 "1-bit start, without training"
"$onebit" quantize "$teacher" -o "$out/start.gguf" | tail -n 4

step 4 "distillation (each block alone, then $STEPS steps of the whole: 7 minutes)"
resume=()
for file in state.safetensors blocks/0.safetensors; do
  [ ! -f "$out/run/$file" ] || resume=(--resume)  # what an interrupted demo has left
done
[ -f "$out/distill.json" ] ||
  "$onebit" distill "$teacher" -o "$out/run" --data demo/novels/train.jsonl --data demo/synth.jsonl \
    --steps "$STEPS" --seed "$seed" --held-out 0 "${resume[@]}" --json >"$out/distill.json.part"
[ ! -f "$out/distill.json.part" ] || mv "$out/distill.json.part" "$out/distill.json"

step 5 "measure all three on the novel kept out"
measure() {
  local name=$1 model=$2
  "$onebit" info "$model" --json >"$out/$name.info.json"
  "$onebit" perplexity "$model" -f demo/novels/held_out.txt -c 512 --max-windows "$WINDOWS" --kl-teacher "$teacher" \
    --json >"$out/$name.perplexity.json"
  "$onebit" bench "$model" -p 128 -n 64 -o json >"$out/$name.bench.json"
  "$onebit" run "$model" -p "$PROMPT" -n 40 --temp 0 --json >"$out/$name.run.json"
}
measure full "$teacher"
measure start "$out/start.gguf"
measure trained "$out/run/model.gguf"

step 6 "result"
"$python" tools/demo_table.py "$out" "$PROMPT" | tee "$out/table.md"
now=$(($(date +%s) - began))
printf '\nThe model is %s; talk to it with\n  %s run %s\n' "$out/run/model.gguf" "$onebit" "$out/run/model.gguf"
printf 'Done in %d:%02d.\n' $((now / 60)) $((now % 60))

#!/usr/bin/env bash
# `make accept`: the long checks against reference software. Prints one line a figure (point, figure,
# value, bound, pass or FAIL) and ends with status 1 when one failed; some hours on two cores.
# Usage: tools/accept.sh [POINT…]   (all points when none is named; -l lists them with their scripts)
#
# A point's figures are also in build/accept/<point>.txt and its messages in build/accept/<point>.log.
# Environment: BUILD (build/dev), FUZZ_SECONDS (300 for each target), ROUNDS, PROMPT and RECOMPUTE
# (tools/accept/products.py, speed.py and tasks.py say what they are), FRESH (where the point `fresh`, which
# needs root, makes and keeps its Debian; a temporary folder when unset).
set -uo pipefail
cd "$(dirname "$0")/.."
export BUILD=${BUILD:-build/dev}
export PYTHONSAFEPATH=1 OMP_WAIT_POLICY=passive  # for the scripts: see tools/accept/figures.py
# Large tensors come from memory that is kept, not mapped anew: halves the time of the references.
export MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=1000000000000
logs=build/accept

# In the order in which they run. A script in Python runs with the reference software.
POINTS=(logits tokenizers wikitext strides llama.cpp llama.cpp-kl svid sensitivity training sizes kill
        processes step products speed demo packed int8 tasks methods blocks asan fuzz fresh)
declare -A SCRIPTS=(
  [logits]=tools/accept/logits.py         # both models' logits and greedy text against transformers
  [tokenizers]=tools/accept/tokenizers.py # ids and decoded text of 20,000 lines
  [wikitext]=tools/accept/wikitext.py     # perplexity against transformers
  [strides]=tools/accept/strides.py       # perplexity in windows that slide, against transformers
  [llama.cpp]=tools/accept/llama_cpp.py   # perplexity against llama.cpp's own tool
  [llama.cpp-kl]=tools/accept/llama_cpp_kl.py # divergence against llama.cpp's own tool
  [tasks]=tools/accept/tasks.py           # zero-shot tasks and MMLU against lm-eval
  [svid]=tools/accept/svid.py             # relative errors against scikit-learn and numpy
  [sensitivity]=tools/accept/sensitivity.py   # what a matrix costs against transformers; time of all
  [training]=tools/accept/training.py     # twenty steps against a PyTorch script
  [sizes]=tools/accept/sizes.py           # the paper's table of sizes
  [kill]=tools/accept/kill.py             # runs killed and resumed against unbroken ones
  [processes]=tools/accept/processes.py   # two processes against one, and one lost
  [step]=tools/accept/step.py             # speed and memory of a training step against eager PyTorch
  [products]=tools/accept/products.py     # 1-bit products against ggml's and the machine's limits
  [speed]=tools/accept/speed.py           # whole models against llama.cpp
  [demo]=tools/accept/demo.py             # held-out divergence of the demo, three seeds
  [packed]=tools/accept/packed.py         # the packed students in the runtime against libtorch
  [int8]=tools/accept/int8.py             # int8 activations, f16 and q8_0 keys and values against exact
  [methods]=tools/accept/methods.py       # files of all methods: engines, and the methods' order
  [blocks]=tools/accept/blocks.py         # memory and time of calibration on blocks of 7B's shape
  [asan]=tools/accept/asan.py             # the whole suite under AddressSanitizer and UBSan
  [fuzz]=tools/accept/fuzz.py             # every fuzz target for minutes
  [fresh]=tools/fresh_install.sh          # a fresh Debian 12
)

# One figure that the point's script could not print, as tools/accept/figures.py prints them.
fail() { printf '%-10s | %-52s | %12s | %-20s | FAIL\n' "$@"; }

run_script() {
  local point=$1 script=${SCRIPTS[$1]}
  set --
  [ "$point" != fresh ] || set -- ${FRESH:+"$FRESH"}
  case $script in
    *.py) .deps/reference/bin/python "$script" "$@" ;;
    *) "$script" "$@" ;;
  esac
}

if [ "${1:-}" = -l ]; then
  for point in "${POINTS[@]}"; do printf '%-10s %s\n' "$point" "${SCRIPTS[$point]}"; done
  exit
fi
[ $# -gt 0 ] && POINTS=("$@")
for point in "${POINTS[@]}"; do
  [ -n "${SCRIPTS[$point]:-}" ] && continue
  echo "accept: found the point '$point', expected one of those that tools/accept.sh -l lists" >&2
  exit 2
done

tools/setup_reference.sh >&2 || exit 1
cmake --preset "$(basename "$BUILD")" >/dev/null && cmake --build "$BUILD" -j "$(nproc)" >&2 || exit 1
mkdir -p "$logs"
for point in "${POINTS[@]}"; do
  script=${SCRIPTS[$point]} out=$logs/$point.txt log=$logs/$point.log
  if [ -e "$script" ]; then
    run_script "$point" 2>"$log" | tee "$out"
    status=${PIPESTATUS[0]}
    # A script that ends with an error before or without a figure that says so.
    if [ "$status" != 0 ] && ! grep -q '| FAIL$' "$out"; then
      fail "$point" "exit status of $script; see $log" "$status" "= 0" | tee -a "$out"
    fi
  else
    fail "$point" "$script" missing "the script" | tee "$out"
  fi
done

files=("${POINTS[@]/#/$logs/}")
passed=$(cat "${files[@]/%/.txt}" | grep -c '| pass$')
failed=$(cat "${files[@]/%/.txt}" | grep -c '| FAIL$')
echo "accept: $passed figures within their bounds, $failed not"
[ "$failed" = 0 ]

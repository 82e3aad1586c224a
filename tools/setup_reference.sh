#!/usr/bin/env bash
# Installs the reference software that golden values and `make accept` compare with, in a Python
# environment of its own (.deps/reference, about 6 GB with PyTorch's libraries). The program never
# uses it. Usage: tools/setup_reference.sh
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(
  torch==2.11.0 transformers==5.24.0 tokenizers==0.23.3 sentencepiece==0.2.3 gguf==0.19.0
  safetensors==0.8.0 numpy==2.4.6 scikit-learn==1.9.1 tiktoken==0.14.0 jinja2==3.1.6
  protobuf==7.36.0
  datasets==5.2.0 accelerate==1.15.0 sacrebleu==2.6.0 dill==0.4.1  # what lm-eval imports
)
# Without its other dependencies, which score generated text and print tables.
alone=(lm-eval==0.4.13)
stamp=.deps/reference.stamp
wanted="${packages[*]} ${alone[*]}"
if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
  echo "setup: installing the reference software into .deps/reference"
  mkdir -p .deps
  /usr/bin/python3 -m venv .deps/reference
  .deps/reference/bin/pip install -q --no-warn-script-location "${packages[@]}"
  .deps/reference/bin/pip install -q --no-warn-script-location --no-deps "${alone[@]}"
  echo "$wanted" >"$stamp"
fi

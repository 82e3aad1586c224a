#!/usr/bin/env bash
# Builds llama.cpp's own perplexity tool, which `make accept` compares ours with, once, into
# .deps/llama.cpp. The sources are those inside the source distribution of llama-cpp-python; the
# program never uses them. Usage: [JOBS=N] tools/accept/build_llama_cpp.sh
set -euo pipefail
cd "$(dirname "$0")/../.."

version=0.3.36
dir=.deps/llama.cpp
tool=$dir/build/bin/llama-perplexity
if [ "$(cat "$dir/stamp" 2>/dev/null)" != "$version" ] || [ ! -x "$tool" ]; then
  echo "accept: building llama.cpp of llama-cpp-python $version in $dir" >&2
  rm -rf "$dir"
  mkdir -p "$dir/source"
  .deps/venv/bin/pip download -q --no-binary :all: --no-deps -d "$dir" "llama-cpp-python==$version"
  tar -xf "$dir/llama_cpp_python-$version.tar.gz" -C "$dir/source" --strip-components=3 \
      "llama_cpp_python-$version/vendor/llama.cpp"
  cmake -S "$dir/source" -B "$dir/build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=ON \
        -DLLAMA_BUILD_SERVER=OFF -DLLAMA_BUILD_APP=OFF -DLLAMA_BUILD_TESTS=OFF \
        -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_OPENSSL=OFF >"$dir/build.log"
  cmake --build "$dir/build" --target llama-perplexity -j "${JOBS:-$(nproc)}" >>"$dir/build.log" ||
    { tail -n 20 "$dir/build.log" >&2; exit 1; }
  rm "$dir/llama_cpp_python-$version.tar.gz"
  echo "$version" >"$dir/stamp"
fi
echo "$tool"

#!/usr/bin/env bash
# Builds llama.cpp's own perplexity tool, which `make accept` compares ours with, once, in .deps, and
# prints where it is; an interrupted build goes on. The sources are those inside the source distribution
# of llama-cpp-python; the program never uses them. Usage: [JOBS=N] tools/accept/build_llama_cpp.sh
set -euo pipefail
cd "$(dirname "$0")/../.."

version=0.3.36
dir=.deps/llama.cpp
tool=$dir/build/bin/llama-perplexity
log=$dir/build.log
if [ "$(cat "$dir/fetched" 2>/dev/null)" != "$version" ]; then
  echo "accept: fetching llama.cpp of llama-cpp-python $version" >&2
  rm -rf "$dir"
  mkdir -p "$dir/source"
  .deps/venv/bin/pip download -q --no-binary :all: --no-deps -d "$dir" "llama-cpp-python==$version"
  tar -xf "$dir/llama_cpp_python-$version.tar.gz" -C "$dir/source" --strip-components=3 \
      "llama_cpp_python-$version/vendor/llama.cpp"
  rm "$dir/llama_cpp_python-$version.tar.gz"
  echo "$version" >"$dir/fetched"
fi
if [ ! -e "$dir/built" ]; then
  echo "accept: building llama.cpp's perplexity tool in $dir" >&2
  cmake -S "$dir/source" -B "$dir/build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=ON \
        -DLLAMA_BUILD_SERVER=OFF -DLLAMA_BUILD_APP=OFF -DLLAMA_BUILD_TESTS=OFF \
        -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_OPENSSL=OFF >"$log"
  cmake --build "$dir/build" --target llama-perplexity -j "${JOBS:-$(nproc)}" >>"$log" ||
    { tail -n 20 "$log" >&2; exit 1; }
  touch "$dir/built"
fi
echo "$tool"

#!/usr/bin/env python3
"""Every tokenizer against its reference on 20,000 lines of mixed text: ids, and decoding.

Usage: tokenizers.py BUILD_DIR [LINES]   (needs what ../golden/make_tokenizer.py needs)

The text is seeded: all scripts, emoji, digits, code, runs of spaces, controls, and, where
../shared/data is present, novels, web pages, encyclopedia articles and exam questions. The
references' ids for it go to a folder that BUILD_DIR's arch_test then reads in place of the golden
one: it prints lines, ids and differences of each tokenizer. Exits 1 when anything differs.
"""
import os
import pathlib
import subprocess
import sys
import tempfile

# In place of this file's folder, in which it would hide the package of its name.
sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1] / "golden")
import make_tokenizer  # noqa: E402
import tokenizer_reference as reference  # noqa: E402

LINES = 20000


def make_references(folder, count):
    lines = reference.mixed_lines(count, seed=1)
    characters = sum(map(len, lines))
    print(f"tokenizers: {len(lines)} lines, {characters} characters, {len(set(''.join(lines)))} different ones",
          flush=True)
    maker = make_tokenizer.make(folder, lines, small_step=1)
    maker.save_json("smollm2_json", "SmolLM2 as a tokenizer.json", reference.smollm2())
    if reference.TOKENIZERS.exists():
        maker.save_json("llama2_json", "Llama 2 as a tokenizer.json", reference.llama2_json(),
                        normalize=reference.without_space_symbol)
        maker.save_json("llama3_json", "Llama 3 as a tokenizer.json", reference.llama3_json())


def main():
    build = pathlib.Path(sys.argv[1])
    count = int(sys.argv[2]) if len(sys.argv) > 2 else LINES
    with tempfile.TemporaryDirectory() as folder:
        make_references(pathlib.Path(folder), count)
        run = subprocess.run([build / "bin/arch_test", "--gtest_filter=*TokenizerGolden*", "--gtest_brief=1"],
                             env={**os.environ, "ONEBIT_TOKENIZER_GOLDEN": folder})
    print(f"tokenizers: {'MISSED' if run.returncode else 'held'}")
    return run.returncode


if __name__ == "__main__":
    sys.exit(main())

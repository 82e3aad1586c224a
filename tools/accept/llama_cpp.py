#!/usr/bin/env python3
"""Perplexity of SmolLM2's GGUF by llama.cpp's own tool and by ours with llama.cpp's protocol.

Usage: llama_cpp.py   (builds llama.cpp with build_llama_cpp.sh; needs the shared data)

llama.cpp reads the file as it is, so ours is told that the whole file is one row. Its matrix products
round activations to eight bits and its key/value cache to f16, ours here are f32.
"""
import pathlib
import re
import subprocess
import sys

sys.path.append(str(pathlib.Path(__file__).parent))
import figures  # noqa: E402

WINDOW = 512
PERCENT = 1.0


def main():
    report = figures.Report("llama.cpp")
    done = subprocess.run([figures.llama_cpp_tool(), "-m", figures.SMOLLM2, "-f", figures.WIKITEXT, "-c", str(WINDOW)],
                          check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    theirs = float(re.search(r"Final estimate: PPL = ([0-9.]+)", done.stdout)[1])
    windows = int(re.search(r"perplexity over (\d+) chunks", done.stdout)[1])
    ours = figures.run_json("perplexity", figures.SMOLLM2, "-f", figures.WIKITEXT, "-c", WINDOW,
                            "--protocol", "llama.cpp", "--rows", "whole")
    percent = 100 * (ours["ppl"] / theirs - 1)
    report.note("llama.cpp: perplexity", f"{theirs:.4f}")
    report.note("onebit: perplexity", f"{ours['ppl']:.4f}")
    report.check("windows of both", ours["windows"], f"= {windows}", ours["windows"] == windows)
    report.note("onebit / llama.cpp", f"{ours['ppl'] / theirs:.6f}")
    report.check("difference", f"{percent:+.4f} %", f"within {PERCENT} %", abs(percent) <= PERCENT)
    return report.exit_status()


if __name__ == "__main__":
    sys.exit(main())

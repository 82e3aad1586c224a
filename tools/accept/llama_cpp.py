#!/usr/bin/env python3
"""Perplexity of SmolLM2 by llama.cpp's own tool and by ours with llama.cpp's protocol.

Usage: llama_cpp.py   (builds llama.cpp with build_llama_cpp.sh; needs the shared data)

In f32, weights, activations, keys and values, the two compute the same but for the order of sums, at
each size of the window. From the installed Q4_1 file llama.cpp's matrix products round activations to
eight bits and its keys and values are f16, as its users have it; ours are f32.
"""
import pathlib
import re
import sys

sys.path.append(str(pathlib.Path(__file__).parent))
import figures  # noqa: E402
import llama_models  # noqa: E402

# Windows of how many tokens, and how many of them; 0: all of the text.
EXACT = [(128, 80), (512, 30), (2048, 6)]
EXACT_PERCENT = 0.01
USUAL = (512, 0)
USUAL_PERCENT = 1.0


def compare(report, name, model, window, count, percent, exact):
    limit = ["--chunks", count] if count else []
    said = llama_models.perplexity(model, "-f", figures.WIKITEXT, "-c", window, *limit, exact=exact)
    theirs, their_error = map(float, re.search(r"Final estimate: PPL = ([0-9.]+) \+/- ([0-9.]+)", said).groups())
    windows = int(re.search(r"perplexity over (\d+) chunks", said)[1])
    ours = figures.run_json("perplexity", model, "-f", figures.WIKITEXT, "-c", window, "--protocol", "llama.cpp",
                            "--max-windows", count)
    name = f"{name}, -c {window}: "
    report.note(name + "llama.cpp", f"{theirs:.4f}", f"+/- {their_error:.5f}")
    report.note(name + "onebit", f"{ours['ppl']:.4f}", f"+/- {ours['ppl_stderr']:.5f}")
    report.check(name + "windows of both", ours["windows"], f"= {windows}", ours["windows"] == windows)
    for what, ratio in (("difference", ours["ppl"] / theirs), ("difference of errors", ours["ppl_stderr"] / their_error)):
        difference = 100 * (ratio - 1)
        report.check(name + what, f"{difference:+.4f} %", f"within {percent} %", abs(difference) <= percent)


def main():
    report = figures.Report("llama.cpp")
    for window, count in EXACT:
        compare(report, "f32", llama_models.model("f32"), window, count, EXACT_PERCENT, exact=True)
    compare(report, "Q4_1", figures.SMOLLM2, *USUAL, USUAL_PERCENT, exact=False)
    return report.exit_status()


if __name__ == "__main__":
    sys.exit(main())

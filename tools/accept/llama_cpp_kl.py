#!/usr/bin/env python3
"""Divergence of a quantised SmolLM2 from the full one by llama.cpp's --kl-divergence and by ours.

Usage: llama_cpp_kl.py   (builds llama.cpp with build_llama_cpp.sh; needs the shared data, 1.5 GB of disk)

The teacher is SmolLM2 in f32, the model its q4_0. Each program writes the teacher's log-probabilities
once, each reads both files. llama.cpp rounds the activations that q4_0's matrices multiply to eight
bits, which is a divergence of its own; so it also runs the same weights dequantised to f32, where both
programs compute the same. Then what the file's sixteen bits move: ours from the live teacher.
"""
import pathlib
import re
import sys
import tempfile

sys.path.append(str(pathlib.Path(__file__).parent))
import figures  # noqa: E402
import llama_models  # noqa: E402

WINDOW, WINDOWS = 512, 24
TEXT = ["-f", figures.WIKITEXT, "-c", WINDOW]
PERCENT = 1.0
# Ours, llama.cpp's line, and whether the bound is on it: the others hang on a few positions.
FIGURES = {
    "kl_mean": ("mean KL", r"Mean    KLD: +([0-9.-]+)", True),
    "kl_stderr": ("its error", r"Mean    KLD: +[0-9.-]+ ± +([0-9.]+)", True),
    "kl_median": ("median KL", r"Median  KLD: +([0-9.-]+)", True),
    "kl_p99": ("99 % KL", r"99\.0%   KLD: +([0-9.-]+)", True),
    "kl_p999": ("99.9 % KL", r"99\.9%   KLD: +([0-9.-]+)", True),
    "kl_max": ("largest KL", r"Maximum KLD: +([0-9.-]+)", True),
    "same_top": ("same top, share", r"Same top p: +([0-9.]+)", True),
    "delta_p_mean": ("mean delta p, share", r"Mean    Δp: +([0-9.-]+)", False),
    "delta_p_rms": ("RMS delta p, share", r"RMS Δp    : +([0-9.]+)", True),
    "teacher_ppl": ("teacher's perplexity", r"Mean PPL\(base\) +: +([0-9.]+)", True),
    "log_ppl_ratio": ("ln of the ratio of perplexities", r"Mean ln\(PPL\(Q\)/PPL\(base\)\) +: +([0-9.-]+)", True),
}
SHARES = ("same_top", "delta_p_mean", "delta_p_rms")  # llama.cpp prints per cent


def theirs(model, base):
    said = llama_models.perplexity(model, "--kl-divergence", "--kl-divergence-base", base, *TEXT)
    found = {key: float(re.search(pattern, said)[1]) for key, (_, pattern, _) in FIGURES.items()}
    return {key: value / 100 if key in SHARES else value for key, value in found.items()}


def ours(model, *flags):
    return figures.run_json("perplexity", model, *TEXT, "--protocol", "llama.cpp", "--max-windows", WINDOWS, *flags)


def compare(report, name, found, expected, checked):
    for key, (what, _, bounded) in FIGURES.items():
        percent = 100 * (found[key] / expected[key] - 1)
        report.note(f"{name}: {what}", f"{found[key]:.6f}", f"{expected[key]:.6f}")
        if checked and bounded:
            report.check(f"{name}: {what}, difference", f"{percent:+.4f} %", f"within {PERCENT} %",
                         abs(percent) <= PERCENT)
        else:
            report.note(f"{name}: {what}, difference", f"{percent:+.4f} %")


def main():
    report = figures.Report("llama.cpp-kl")
    teacher, model, same_weights = map(llama_models.model, ("f32", "q4_0", "q4_0-f32"))
    with tempfile.TemporaryDirectory(dir=llama_models.FOLDER) as folder:
        their_file, our_file = pathlib.Path(folder, "theirs.kld"), pathlib.Path(folder, "ours.kld")
        llama_models.perplexity(teacher, "--kl-divergence-base", their_file, *TEXT, "--chunks", WINDOWS)
        written = ours(model, "--kl-teacher", teacher, "--kl-base", our_file)
        read = ours(model, "--kl-base", our_file)
        exchanged = ours(model, "--kl-base", their_file)
        live = ours(model, "--kl-teacher", teacher)
        same = all(written[key] == read[key] for key in FIGURES)
        report.check("onebit: writing and reading give the same figures", "yes" if same else "no", "= yes", same)
        compare(report, "its file, onebit / llama.cpp", exchanged, theirs(same_weights, their_file), True)
        compare(report, "our file, onebit / llama.cpp", read, theirs(same_weights, our_file), True)
        compare(report, "q4_0 in int8, onebit / llama.cpp", exchanged, theirs(model, their_file), False)
        compare(report, "onebit, file / live teacher", read, live, False)
    return report.exit_status()


if __name__ == "__main__":
    sys.exit(main())

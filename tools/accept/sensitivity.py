#!/usr/bin/env python3
"""`onebit sensitivity` on SmolLM2 against transformers and numpy, and what a whole measurement takes.

Usage: sensitivity.py [--fast]   (needs tools/setup_reference.sh and the shared data; --fast: no whole run)

A few matrices of SmolLM2-135M in every form, on two windows of 256 tokens of WikiText-2: scales by numpy's
SVD of |W|, rounded to f16 as they are stored, the model by transformers in f64, divergences by log_softmax
(tools/golden/sensitivity_reference.py). Logits in f32 are off by some epsilon, so mean KL by at most
2 epsilon (sqrt(2 KL) + KL) + epsilon^2 (src/quant/sensitivity.h); epsilon is twice what f32 moves transformers'
own logits, of the full model or of the quantised one, whichever is larger.

Then the default measurement of all 210 matrices: time and peak memory.
"""
import pathlib
import resource
import sys
import tempfile
import time

sys.path += [str(pathlib.Path(__file__).parent), str(pathlib.Path(__file__).parents[1] / "golden")]
import figures  # noqa: E402
import make_wikitext_rows  # noqa: E402
import numpy as np  # noqa: E402
import sensitivity_reference as reference  # noqa: E402
import torch  # noqa: E402

WINDOW, WINDOWS = 256, 2
CASES = {
    "free": ["blk.0.attn_v", "blk.0.ffn_down", "blk.5.attn_q", "blk.14.attn_output", "blk.21.ffn_gate",
             "blk.29.ffn_down"],
    "paper": ["blk.7.attn_k", "blk.29.ffn_up"],
    "foldable": ["blk.3.attn_k", "blk.11.attn_output", "blk.18.ffn_up"],
}
SECONDS = 600  # the default measurement on two cores


def tokens_of_text():
    text = "\n\n".join(make_wikitext_rows.rows(figures.WIKITEXT.read_bytes().decode()))
    tokenizer = reference.smollm2_reference.load_tokenizer()
    return tokenizer.encode(text, add_special_tokens=False).ids[:WINDOW * WINDOWS]


def ours(form, names):
    chosen = [flag for name in names for flag in ("--matrices", name)]
    said = figures.run_json("sensitivity", figures.SMOLLM2, "-f", figures.WIKITEXT, "-c", WINDOW,
                            "--max-windows", WINDOWS, "--form", form, *chosen)
    return {row["matrix"]: row for row in said["rows"]}, said["baseline"]["ppl"]


def largest(a, b):
    return float((a.double() - b.double()).abs().max())


def compare_with_reference(report):
    windows = torch.tensor(tokens_of_text()).reshape(WINDOWS, WINDOW)
    exact, single = (reference.smollm2_reference.load_model(dtype=t) for t in (torch.float64, torch.float32))
    full, full_single = reference.logits_of(exact, windows), reference.logits_of(single, windows)
    own_gap = largest(full, full_single)
    report.note(f"{WINDOWS * (WINDOW - 1)} positions: transformers f32 to f64, full", f"{own_gap:.2e}")
    for form, names in CASES.items():
        rows, ppl = ours(form, names)
        itself = reference.compare(full, full, windows).ppl()
        report.check(f"{form}: perplexity of the full model, relative", f"{abs(ppl / itself - 1):.1e}",
                     f"within {2 * own_gap:.1e}", abs(ppl / itself - 1) <= 2 * own_gap)
        for name in names:
            expected, logits = reference.cost(exact, full, windows, name, form, f16=True)
            _, logits_single = reference.cost(single, full_single, windows, name, form, f16=True)
            epsilon = 2 * max(own_gap, largest(logits, logits_single))
            kl, row = float(expected.kl.mean()), rows[name]
            allowed = reference.bound(kl, epsilon)
            off = abs(row["kl_mean"] - kl)
            report.check(f"{form} {name}: KL {kl:.6f}, off by", f"{off:.1e}", f"within {allowed:.1e}",
                         off <= allowed)
            # Relative: f32 sums, and scales that lie between two of f16 and are rounded the other way.
            worst = max(abs(row[key] / value - 1) for key, value in (
                ("output_error", expected.output_error), ("relative_error", expected.relative_error)))
            report.check(f"{form} {name}: errors of matrix and output, rel.", f"{worst:.1e}", "within 1e-05",
                         worst <= 1e-5)


def measure_all(report):
    with tempfile.TemporaryDirectory() as folder:
        begin = time.monotonic()
        said = figures.run_json("sensitivity", figures.SMOLLM2, "-f", figures.WIKITEXT,
                                "-o", pathlib.Path(folder) / "all.json", "--heatmap", pathlib.Path(folder) / "all.svg")
        seconds = time.monotonic() - begin
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    kl = np.array([row["kl_mean"] for row in said["rows"]])
    assert len(kl) == 210
    report.check("default measurement, 210 matrices", f"{seconds:.0f} s", f"< {SECONDS} s", seconds < SECONDS)
    report.note("default measurement: peak memory", f"{peak / 2**20:.0f} MiB")
    report.note("KL of a matrix: least, median, largest", f"{kl.min():.4f}",
                f"{np.median(kl):.4f}, {kl.max():.4f}")


def main():
    figures.forget_settings()
    report = figures.Report("sensitivity")
    if "--fast" not in sys.argv[1:]:
        measure_all(report)  # before the reference is here: a child's peak counts what this process has
    compare_with_reference(report)
    return report.exit_status()


if __name__ == "__main__":
    sys.exit(main())

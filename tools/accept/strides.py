#!/usr/bin/env python3
"""Perplexity of SmolLM2 in windows that slide (--stride), against transformers in f32.

Usage: strides.py   (needs tools/setup_reference.sh and the shared data)

The reference is tools/golden/make_strides.py's loop, that of transformers' documentation, on the first
rows of WikiText-2's test split.
"""
import math
import pathlib
import sys
import tempfile

sys.path += [str(pathlib.Path(__file__).parent), str(pathlib.Path(__file__).parents[1] / "golden")]
import figures  # noqa: E402
import make_strides  # noqa: E402
import make_wikitext_rows  # noqa: E402
import smollm2_reference  # noqa: E402

ROWS = 80
CASES = [(512, 512), (512, 256), (512, 100), (1024, 512)]
PERCENT = 0.01


def main():
    report = figures.Report("strides")
    text = "\n\n".join(make_wikitext_rows.rows(figures.WIKITEXT.read_bytes().decode())[:ROWS])
    ids = smollm2_reference.load_tokenizer().encode(text, add_special_tokens=False).ids
    model = smollm2_reference.load_model()
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(text)
        file.flush()
        for window, stride in CASES:
            name = f"window {window}, stride {stride}: "
            total, scored, _ = make_strides.nll(model, ids, window, stride)
            expected = math.exp(total / scored)
            ours = figures.run_json("perplexity", figures.SMOLLM2, "-f", file.name, "-c", window,
                                    "--stride", stride)
            percent = 100 * (ours["ppl"] / expected - 1)
            report.note(name + "transformers, f32", f"{expected:.5f}")
            report.note(name + "onebit", f"{ours['ppl']:.5f}")
            report.check(name + "tokens scored", ours["scored"], f"= {scored}", ours["scored"] == scored)
            report.check(name + "difference", f"{percent:+.5f} %", f"within {PERCENT} %",
                         abs(percent) <= PERCENT)
    return report.exit_status()


if __name__ == "__main__":
    sys.exit(main())

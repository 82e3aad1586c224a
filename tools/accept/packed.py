#!/usr/bin/env python3
"""A packed student in the runtime against the student in libtorch, and int8 activations.

Usage: packed.py [PACKED.gguf ...]   (needs tools/setup_reference.sh and the shared data)

The students are those that the point `demo` has trained with seed 0, one in each form, or the packed
files that are named; and SmolLM2 by SVID alone, in each form. For each: the runtime's logits with f32
activations against libtorch's on 512 tokens of WikiText-2, and perplexity with int8 against f32
activations on windows of its test split. That last figure has no bound for SVID alone: a model whose
perplexity is in the millions says nothing about rounding.
"""
import pathlib
import subprocess
import sys
import tempfile

sys.path.append(str(pathlib.Path(__file__).parent))
import figures  # noqa: E402
import logits  # noqa: E402

BOUND, PERCENT = 1e-3, 0.5
WINDOW, WINDOWS = 512, 64
TRAINED = {"trained, free": "demo/seed-0/run/model.gguf", "trained, paper": "demo/seed-0/reference/model.gguf"}


def perplexity(model, activations):
    return figures.run_json("perplexity", model, "-f", figures.WIKITEXT, "-c", WINDOW, "--max-windows",
                            WINDOWS, "--activations", activations)["ppl"]


def check(report, name, model, trained):
    tokenizer = logits.smollm2.load_tokenizer(model)
    ids = tokenizer.encode(logits.article_text(), add_special_tokens=False).ids[:logits.TOKENS]
    runtime, torch, rounded = (logits.engine_logits(engine, model, ids)
                               for engine in ("runtime-f32", "torch-f32", "runtime-i8"))
    difference = logits.largest(runtime, torch)
    report.check(f"{name}, {len(ids)} tokens: runtime f32 from libtorch", f"{difference:.2e}",
                 f"within {BOUND:.0e}", difference <= BOUND)
    report.note(f"{name}: largest logit", f"{abs(torch).max():.1f}")
    report.note(f"{name}: int8 activations move a logit by", f"{logits.largest(runtime, rounded):.2e}",
                "at most")
    exact = perplexity(model, "f32")
    percent = 100 * (perplexity(model, "i8") / exact - 1)
    report.note(f"{name}: perplexity, {WINDOWS} windows of {WINDOW}, f32", f"{exact:.3f}")
    figure = f"{name}: perplexity with int8 from f32", f"{percent:+.4f} %"
    if trained:
        report.check(*figure, f"within {PERCENT} %", abs(percent) <= PERCENT)
    else:
        report.note(*figure)


def main():
    report = figures.Report("packed")
    students = {path: pathlib.Path(path) for path in sys.argv[1:]} or \
        {name: figures.ROOT / path for name, path in TRAINED.items()}
    for path in students.values():
        if not path.exists():
            sys.exit(f"packed: {path}: found no file, expected a trained student (tools/accept.sh demo makes one)")
    with tempfile.TemporaryDirectory() as folder:
        for form in ("paper", "free", "foldable"):
            out = pathlib.Path(folder, form + ".gguf")
            subprocess.run([figures.ONEBIT, "quantize", figures.SMOLLM2, "-o", out, "--form", form],
                           check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            check(report, f"SVID, {form}", out, trained=False)
    for name, path in students.items():
        check(report, name, path, trained=True)
    return report.exit_status()


if __name__ == "__main__":
    sys.exit(main())

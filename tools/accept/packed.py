#!/usr/bin/env python3
"""A packed student in the runtime against the student in libtorch, and int8 activations.

Usage: packed.py ONEBIT ONEBIT_LOGITS MODEL.gguf [PACKED.gguf ...]   (needs tools/setup_reference.sh)

Quantises MODEL by SVID in both forms (and takes packed files of the same tokenizer as they are, a
trained one say). For each: the largest difference between the runtime's logits with f32 activations
and libtorch's, on 512 tokens of WikiText-2, at most 1e-3; and the perplexity with int8 activations,
within 0.5 % of that with f32 activations, on the first windows of the same text. Exits 1 when one
of them misses.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

import logits

BOUND, RELATIVE = 1e-3, 0.005
WINDOW, WINDOWS = 512, 16


def perplexity(onebit: str, model: pathlib.Path, activations: str) -> float:
    run = subprocess.run([onebit, "perplexity", model, "-f", logits.reference.TEXT, "-c", str(WINDOW),
                          "--max-windows", str(WINDOWS), "--activations", activations, "--json"],
                         check=True, capture_output=True, text=True)
    return json.loads(run.stdout)["ppl"]


def check(name: str, onebit: str, tool: str, model: pathlib.Path) -> bool:
    tokenizer = logits.smollm2.load_tokenizer(model)
    ids = tokenizer.encode(logits.article_text(), add_special_tokens=False).ids[:logits.TOKENS]
    run, torch_, rounded = (logits.engine_logits(tool, engine, model, ids)
                            for engine in ("runtime-f32", "torch-f32", "runtime-i8"))
    difference = float(np.abs(run - torch_).max())
    f32, i8 = (perplexity(onebit, model, activations) for activations in ("f32", "i8"))
    change = i8 / f32 - 1
    print(f"packed: {name}: {len(ids)} tokens: runtime f32 to libtorch {difference:.2e} (bound "
          f"{BOUND:.0e}; largest logit {np.abs(torch_).max():.1f}; int8 activations move logits by at "
          f"most {np.abs(rounded - run).max():.2f})")
    print(f"packed: {name}: perplexity of {WINDOWS} windows of {WINDOW}: {f32:.3f} with f32 activations, "
          f"{i8:.3f} with int8: {100 * change:+.3f} % (bound {100 * RELATIVE} %)")
    return difference <= BOUND and abs(change) <= RELATIVE


def main() -> int:
    onebit, tool, model, *packed = sys.argv[1:]
    held = True
    with tempfile.TemporaryDirectory() as folder:
        for form in ("paper", "foldable"):
            out = pathlib.Path(folder, form + ".gguf")
            subprocess.run([onebit, "quantize", model, "-o", out, "--form", form], check=True,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            held &= check(f"SVID, {form}", onebit, tool, out)
        for path in packed:
            held &= check(path, onebit, tool, pathlib.Path(path))
    print(f"packed: {'held' if held else 'MISSED'}")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())

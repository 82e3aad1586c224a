#!/usr/bin/env python3
"""Writes tests/golden/sensitivity/stories260k.json: what quantising one matrix of stories260K costs.

Needs torch 2.11, transformers 5.24, sentencepiece, numpy 2 and the models of tools/setup.sh:
    tools/golden/make_sensitivity.py
Read by src/quant/sensitivity_test.cc and tests/cli/test_sensitivity.py; tools/accept/sensitivity.py
compares more. transformers in f64, scales by numpy's SVD in f64 and not rounded
(tools/golden/sensitivity_reference.py).

text, tokens: the text, and its first ids, whole windows of `window`. baseline: of the full model. rows: of
each matrix mean KL, its standard error and 99th percentile over positions, perplexity and its standard
error, |W - W^|^2 / |W|^2, and |Y - Y^|^2 / |Y|^2 of the layer's output.
"""
import importlib.metadata
import json

import numpy as np
import sentencepiece
import torch

import make_logits
import sensitivity_reference as reference

OUT = reference.smollm2_reference.ROOT / "tests/golden/sensitivity/stories260k.json"
WINDOW, WINDOWS = 48, 3
FREE = ["blk.0.attn_q", "blk.0.attn_k", "blk.1.attn_v", "blk.2.attn_output", "blk.2.ffn_gate", "blk.3.ffn_up",
        "blk.0.ffn_down", "blk.4.ffn_down"]
CASES = [*((name, "free") for name in FREE), ("blk.1.attn_q", "paper"), ("blk.4.ffn_down", "paper"),
         ("blk.3.attn_k", "foldable"), ("blk.2.attn_output", "foldable"), ("blk.1.ffn_up", "foldable")]


def main() -> None:
    model = make_logits.load_stories(torch.float64)
    pieces = sentencepiece.SentencePieceProcessor(str(make_logits.STORIES / "tokenizer.model"))
    tokens = pieces.encode(make_logits.STORY, add_bos=True)[:WINDOW * WINDOWS]
    windows = torch.tensor(tokens).reshape(WINDOWS, WINDOW)
    full = reference.logits_of(model, windows)
    itself = reference.compare(full, full, windows)
    rows = []
    for name, form in CASES:
        found, _ = reference.cost(model, full, windows, name, form, f16=False)
        rows.append({"matrix": name, "form": form, "kl_mean": float(found.kl.mean()),
                     "kl_stderr": found.error(found.kl), "kl_p99": float(np.quantile(found.kl, 0.99)),
                     "ppl": found.ppl(), "ppl_stderr": found.ppl() * found.error(found.nll),
                     "relative_error": found.relative_error, "output_error": found.output_error})
        print(name, form, f"{found.kl.mean():.6f}")
    versions = {p: importlib.metadata.version(p) for p in ("torch", "transformers", "numpy")}
    golden = {
        "provenance": {"script": "tools/golden/make_sensitivity.py", "packages": versions,
                       "model": "stories260K (karpathy/tinyllamas), f64"},
        "text": make_logits.STORY, "window": WINDOW, "tokens": tokens,
        "baseline": {"ppl": itself.ppl(), "ppl_stderr": itself.ppl() * itself.error(itself.nll)},
        "rows": rows,
    }
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text("{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in golden.items()) + "\n}\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    main()

#!/usr/bin/env python3
"""Writes tests/golden/eval/strides.json: negative log-likelihoods of a text in windows that slide.

Needs torch 2.11, transformers 5.24, sentencepiece, and stories260K as tools/setup.sh converts it.
Re-run from the project's root: tools/golden/make_strides.py. Read by tests/cli/test_perplexity.py;
tools/accept/strides.py does the same with SmolLM2.

nll() is the loop of transformers' documentation, "Perplexity of fixed-length models", up to one thing:
it sums the scored labels' losses, where that page weights a window's mean loss by one label less than
the window has from the second window on.
"""
import importlib.metadata
import json
import math
import sys

import torch

IGNORED = -100  # a label that is not scored
CASES = [(64, 16), (64, 63), (64, 64), (50, 7), (40, 1), (200, 30), (512, 100)]


def nll(model, ids: list[int], window: int, stride: int):
    """(sum over the scored tokens, their number, windows that score any), in f64 from f32 logits."""
    total, scored, windows, previous_end = 0.0, 0, 0, 0
    for begin in range(0, len(ids), stride):
        end = min(begin + window, len(ids))
        tokens = torch.tensor(ids[begin:end])
        labels = tokens.clone()
        labels[:len(labels) - (end - previous_end)] = IGNORED
        labels = labels[1:]  # position p predicts token p + 1
        with torch.no_grad():
            logits = model(tokens[None], use_cache=False).logits[0, :-1]
        if (labels != IGNORED).any():
            total += torch.nn.functional.cross_entropy(logits.double(), labels, ignore_index=IGNORED,
                                                       reduction="sum").item()
            scored += int((labels != IGNORED).sum())
            windows += 1
        previous_end = end
        if end == len(ids):
            break
    return total, scored, windows


def main() -> None:
    import make_logits
    import sentencepiece
    text = make_logits.STORY
    pieces = sentencepiece.SentencePieceProcessor(str(make_logits.STORIES / "tokenizer.model"))
    ids = pieces.encode(text, add_bos=True)
    model = make_logits.load_stories(torch.float32)
    cases = []
    for window, stride in CASES:
        total, scored, windows = nll(model, ids, window, stride)
        cases.append({"window": window, "stride": stride, "scored": scored, "windows": windows,
                      "mean_nll": total / scored})
        print(f"window {window}, stride {stride}: {scored} tokens, perplexity {math.exp(total / scored):.4f}")
    versions = {p: importlib.metadata.version(p) for p in ("torch", "transformers", "sentencepiece")}
    golden = {"provenance": {"script": "tools/golden/make_strides.py", "packages": versions,
                             "model": "stories260K (karpathy/tinyllamas), f32"},
              "text": text, "tokens": len(ids), "cases": cases}
    out = make_logits.smollm2.ROOT / "tests/golden/eval/strides.json"
    out.write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main())

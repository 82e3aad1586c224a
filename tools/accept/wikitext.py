#!/usr/bin/env python3
"""Perplexity of SmolLM2 on WikiText-2's test split, paper protocol, against transformers in f32.

Usage: wikitext.py [--recompute]   (needs tools/setup_reference.sh and the shared data)

The other side shares nothing with the program: Hugging Face's rule for rows, its tokenizers library,
its Llama on the weights that Python's gguf dequantised, logarithms in float64. It takes a quarter of
an hour or more, so the negative log-likelihood of every window is kept in .deps/accept, under the
hash of all inputs; an interrupted run goes on where it was. --recompute begins anew.
"""
import hashlib
import inspect
import json
import math
import os
import pathlib
import sys

sys.path += [str(pathlib.Path(__file__).parent), str(pathlib.Path(__file__).parents[1] / "golden")]
import figures  # noqa: E402
import gguf  # noqa: E402
import make_wikitext_rows  # noqa: E402
import smollm2_reference  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402

WINDOW = 2048
TOKENS, WINDOWS = 304_978, 148
PERCENT = 0.05
ROWS = 256  # logits that are in float64 at a time


def reference_tokens():
    content = figures.WIKITEXT.read_bytes().decode()
    text = "\n\n".join(make_wikitext_rows.rows(content))
    ids = smollm2_reference.load_tokenizer().encode(text, add_special_tokens=False).ids
    reader = gguf.GGUFReader(figures.SMOLLM2)
    adds_bos = reader.get_field("tokenizer.ggml.add_bos_token")
    if adds_bos is not None and adds_bos.contents():
        ids.insert(0, reader.get_field("tokenizer.ggml.bos_token_id").contents())
    return ids


def cache_path():
    files = [figures.SMOLLM2, figures.WIKITEXT, smollm2_reference.__file__, make_wikitext_rows.__file__]
    code = [inspect.getsource(function) for function in (reference_tokens, window_nll)]
    key = hashlib.sha256("\n".join([torch.__version__, transformers.__version__, *code]).encode())
    for file in files:
        key.update(hashlib.sha256(pathlib.Path(file).read_bytes()).digest())
    return figures.ROOT / f".deps/accept/wikitext-{key.hexdigest()[:16]}.json"


def window_nll(model, tokens):
    """Sum over the predicted tokens of one window."""
    with torch.no_grad():
        logits = model(torch.tensor([tokens]), use_cache=False).logits[0, :-1]
        targets = torch.tensor(tokens[1:])
        return sum(torch.nn.functional.cross_entropy(part.double(), target, reduction="sum").item()
                   for part, target in zip(logits.split(ROWS), targets.split(ROWS)))


def reference_nll(tokens, recompute):
    """Per window, from the cache as far as it goes."""
    path = cache_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    nll = [] if recompute or not path.exists() else json.loads(path.read_text())
    model = None
    for window in range(len(nll), len(tokens) // WINDOW):
        model = model or smollm2_reference.load_model()
        nll.append(window_nll(model, tokens[window * WINDOW:(window + 1) * WINDOW]))
        unfinished = path.with_suffix(".part")
        unfinished.write_text(json.dumps(nll))
        os.replace(unfinished, path)
        print(f"wikitext: reference window {window + 1}", file=sys.stderr, flush=True)
    return nll


def main():
    report = figures.Report("wikitext")
    tokens = reference_tokens()
    nll = reference_nll(tokens, "--recompute" in sys.argv[1:])
    expected = math.exp(sum(nll) / (len(nll) * (WINDOW - 1)))
    report.check("reference: tokens", len(tokens), f"= {TOKENS}", len(tokens) == TOKENS)
    report.check("reference: windows", len(nll), f"= {WINDOWS}", len(nll) == WINDOWS)
    report.note("reference: perplexity (transformers, f32)", f"{expected:.6f}")
    ours = figures.run_json("perplexity", figures.SMOLLM2, "-f", figures.WIKITEXT, "-c", WINDOW,
                            "--protocol", "paper")
    percent = 100 * (ours["ppl"] / expected - 1)
    report.note("onebit: perplexity", f"{ours['ppl']:.6f}")
    report.check("onebit: tokens", ours["tokens"], f"= {TOKENS}", ours["tokens"] == TOKENS)
    report.check("onebit: windows", ours["windows"], f"= {WINDOWS}", ours["windows"] == WINDOWS)
    report.check("onebit: from the reference", f"{percent:+.5f} %", f"within {PERCENT} %",
                 abs(percent) <= PERCENT)
    return report.exit_status()


if __name__ == "__main__":
    sys.exit(main())

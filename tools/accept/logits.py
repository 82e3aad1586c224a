#!/usr/bin/env python3
"""Logits of both engines against transformers, on 512 tokens of WikiText-2.

Usage: logits.py ONEBIT ONEBIT_LOGITS [smollm2] [stories260k]   (needs tools/setup_reference.sh)

For SmolLM2-135M-Instruct (its Q4_1 GGUF dequantised) and stories260K: transformers in f32 and in
f64, libtorch's model and the runtime's exact path in f32, from the same ids. Prints the largest
differences and, as the yardstick, how far f32 moves transformers' own logits; the bound is 1e-3 or
twice that, whichever is larger. Then a greedy continuation of 64 tokens by `onebit run` and by
transformers, which must be the same. Exits 1 when one of them misses.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import sentencepiece
import torch

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "golden"))
import make_logits as reference  # noqa: E402
import smollm2_reference as smollm2  # noqa: E402

TOKENS, GREEDY, BOUND = 512, 64, 1e-3
MODELS = smollm2.ROOT / ".deps/models"


def article_text() -> str:
    """Rows from the middle of the split on: not those of the golden files."""
    lines = reference.TEXT.read_text(encoding="utf-8").splitlines(keepends=True)
    middle = next(i for i in range(len(lines) // 2, len(lines)) if lines[i].startswith(" = "))
    return "\n\n".join("" if line == " \n" else line for line in lines[middle:middle + 60])


def smollm2_135m():
    tokenizer = smollm2.load_tokenizer()
    return (MODELS / "smollm2-135m-instruct.gguf", lambda dtype: smollm2.load_model(dtype=dtype),
            lambda text: tokenizer.encode(text, add_special_tokens=False).ids, tokenizer.decode)


def stories260k():
    pieces = sentencepiece.SentencePieceProcessor(str(reference.STORIES / "tokenizer.model"))
    return (MODELS / "stories260k.gguf", reference.load_stories,
            lambda text: pieces.encode(text, add_bos=True), pieces.decode)


def engine_logits(tool: str, engine: str, model: pathlib.Path, ids: list[int]) -> np.ndarray:
    with tempfile.TemporaryDirectory() as folder:
        tokens, out = pathlib.Path(folder, "tokens"), pathlib.Path(folder, "logits")
        tokens.write_bytes(np.asarray(ids, "<i4").tobytes())
        subprocess.run([tool, engine, model, tokens, out], check=True)
        return np.fromfile(out, "<f4").reshape(len(ids), -1)


def same_text(encode, decode, ids: list[int]) -> list[int]:
    """The longest beginning whose text gives its ids again."""
    while encode(decode(ids)) != ids:
        ids = ids[:-1]
    return ids


def check(name: str, onebit: str, tool: str) -> bool:
    path, load, encode, decode = {"smollm2": smollm2_135m, "stories260k": stories260k}[name]()
    ids = encode(article_text())[:TOKENS]
    assert len(ids) == TOKENS
    model = load(torch.float32)
    ours32 = reference.all_logits(model, ids).numpy()
    # The context must hold the continuation too.
    prompt = same_text(encode, decode, ids[:TOKENS - GREEDY])
    continuation, lead = reference.greedy(model, prompt)
    del model
    exact = reference.f64_logits(load, ids).numpy()
    gap = float(np.abs(ours32 - exact).max())
    bound = max(BOUND, 2 * gap)
    print(f"logits: {name}: {len(ids)} tokens; transformers f32 to f64: {gap:.2e}; bound {bound:.2e}")
    held = True
    for engine in ("torch-f32", "runtime-f32"):
        found = engine_logits(tool, engine, path, ids)
        difference = float(np.abs(found - ours32).max())
        to_exact = float(np.abs(found - exact).max())
        print(f"logits: {name}: {engine}: largest difference from transformers f32 {difference:.2e}, "
              f"from f64 {to_exact:.2e}")
        held &= difference <= bound
    run = subprocess.run([onebit, "run", path, "-p", decode(prompt), "-n", str(GREEDY), "--temp", "0",
                          "--ignore-eos", "--activations", "f32", "--json"], check=True,
                         capture_output=True, text=True)
    result = json.loads(run.stdout)
    same = result["tokens"] == continuation and result["prompt_tokens"] == len(prompt)
    print(f"logits: {name}: greedy continuation of {GREEDY} tokens after {len(prompt)}: "
          f"{'identical' if same else 'DIFFERENT'} (smallest lead of a chosen id {lead:.2e})")
    return held and same


def main() -> int:
    onebit, tool = sys.argv[1:3]
    results = [check(name, onebit, tool) for name in sys.argv[3:] or ("smollm2", "stories260k")]
    print(f"logits: {'held' if all(results) else 'MISSED'}")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())

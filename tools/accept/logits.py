#!/usr/bin/env python3
"""Logits of both engines against transformers, and greedy text, on 512 tokens of WikiText-2.

Usage: logits.py [smollm2] [stories260k]   (needs tools/setup_reference.sh and the shared data)

For SmolLM2-135M-Instruct (its Q4_1 GGUF dequantised) and stories260K: transformers in f32 and in
f64, libtorch's model and the runtime's exact path, from the same ids. The bound is 1e-3 or twice
what f32 moves transformers' own logits, whichever is larger. Then 64 greedy tokens of `onebit run`
and of transformers, which must be the same.
"""
import pathlib
import subprocess
import sys
import tempfile

sys.path += [str(pathlib.Path(__file__).parent), str(pathlib.Path(__file__).parents[1] / "golden")]
import figures  # noqa: E402
import make_logits as reference  # noqa: E402
import make_wikitext_rows  # noqa: E402
import numpy as np  # noqa: E402
import sentencepiece  # noqa: E402
import smollm2_reference as smollm2  # noqa: E402
import torch  # noqa: E402

TOKENS, GREEDY, BOUND = 512, 64, 1e-3
LOGITS = figures.BUILD / "bin/onebit-logits"


def article_text():
    """Rows from the middle of the split on: not those of the golden files."""
    rows = make_wikitext_rows.rows(figures.WIKITEXT.read_bytes().decode())
    middle = next(i for i in range(len(rows) // 2, len(rows)) if rows[i].startswith(" = "))
    return "\n\n".join(rows[middle:middle + 60])


def smollm2_135m():
    tokenizer = smollm2.load_tokenizer()
    return (figures.SMOLLM2, lambda dtype: smollm2.load_model(dtype=dtype),
            lambda text: tokenizer.encode(text, add_special_tokens=False).ids, tokenizer.decode)


def stories260k():
    pieces = sentencepiece.SentencePieceProcessor(str(reference.STORIES / "tokenizer.model"))
    return (reference.STORIES.with_suffix(".gguf"), reference.load_stories,
            lambda text: pieces.encode(text, add_bos=True), pieces.decode)


MODELS = {"smollm2": smollm2_135m, "stories260k": stories260k}


def engine_logits(engine, model, ids):
    """Of onebit-logits (tests/e2e), [tokens, vocabulary] in f32."""
    with tempfile.TemporaryDirectory() as folder:
        tokens, out = pathlib.Path(folder, "tokens"), pathlib.Path(folder, "logits")
        tokens.write_bytes(np.asarray(ids, "<i4").tobytes())
        subprocess.run([LOGITS, engine, model, tokens, out], check=True)
        return np.fromfile(out, "<f4").reshape(len(ids), -1)


def largest(a, b):
    return float(np.abs(a - b).max())


def same_text(encode, decode, ids):
    """The longest beginning whose text gives its ids again."""
    while encode(decode(ids)) != ids:
        ids = ids[:-1]
    return ids


def check_logits(report, name, path, load, ids):
    theirs = reference.all_logits(load(torch.float32), ids).numpy()
    exact = reference.f64_logits(load, ids).numpy()
    gap = largest(theirs, exact)
    bound = max(BOUND, 2 * gap)
    report.note(f"{name}, {len(ids)} tokens: transformers f32 to f64", f"{gap:.2e}")
    for engine in ("torch-f32", "runtime-f32"):
        ours = engine_logits(engine, path, ids)
        difference = largest(ours, theirs)
        report.check(f"{name}: {engine} from transformers f32", f"{difference:.2e}",
                     f"within {bound:.2e}", difference <= bound)
        report.note(f"{name}: {engine} from transformers f64", f"{largest(ours, exact):.2e}")


def check_greedy(report, name, path, load, prompt, text):
    expected, lead = reference.greedy(load(torch.float32), prompt)
    ours = figures.run_json("run", path, "-p", text, "-n", GREEDY, "--temp", 0, "--ignore-eos",
                            "--activations", "f32")
    assert ours["prompt_tokens"] == len(prompt)
    same = sum(a == b for a, b in zip(ours["tokens"], expected))
    report.check(f"{name}: greedy tokens equal, after {len(prompt)}", same, f"= {GREEDY}",
                 ours["tokens"] == expected)
    report.note(f"{name}: smallest lead of a greedy token", f"{lead:.2e}")


def main():
    report = figures.Report("logits")
    for name in sys.argv[1:] or MODELS:
        path, load, encode, decode = MODELS[name]()
        ids = encode(article_text())[:TOKENS]
        assert len(ids) == TOKENS
        check_logits(report, name, path, load, ids)
        prompt = same_text(encode, decode, ids[:TOKENS - GREEDY])  # both fit stories260K's context
        check_greedy(report, name, path, load, prompt, decode(prompt))
    return report.exit_status()


if __name__ == "__main__":
    sys.exit(main())

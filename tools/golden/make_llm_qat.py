#!/usr/bin/env python3
"""Writes tests/golden/rivals/llm_qat.safetensors: LLM-QAT (arXiv 2305.17888) of a tiny llama, in f64.

Needs torch 2.11, transformers 5.24, numpy 2, safetensors; re-run: tools/golden/make_llm_qat.py
The model is that of rivals_llama.py, which says what its names and layouts are.

Fake quantisation of x to N bits (section 2.2, symmetric MinMax): for every row (the last dimension)
    a = max |x| / (2^(N-1) - 1),   x_q = a * round(x / a),   round half to even;
a row of zeros stays zero. N = 16 or more: x_q = x. The gradient passes through unchanged (STE): a is not
differentiated and nothing is masked. Rows are
    weights      [out, in]: one output channel, of all seven matrices of a block ("per channel");
    activations  [B, T, in]: one token, the input of each of these matrices ("per token");
    KV cache     keys and values as the projections give them, all heads of a token together
                 [B, T, KV_DIM], keys before rotation, in training as in evaluation.
Embedding, norms, head, queries and attention weights are not quantised. Where the paper is silent, its
code (github.com/facebookresearch/LLM-QAT) decides: keys are quantised before rotation, head and embedding
are not quantised, all tensors are trained, gradients are clipped at norm 1 (transformers' default).
Followed from the paper against that code: no 1e-6 in a, no zero gradient where |x| >= 2, and 16 bits
mean none.

Loss (section 2.2): student against its own full-precision start as the teacher,
    -1/B sum over sequences, positions and tokens of softmax(teacher) * log_softmax(student):
a sum over positions, a mean over sequences only (in the code: kl_div with reduction "batchmean").

Optimiser: AdamW, betas 0.9 and 0.999, epsilon 1e-8 added to the root, weight decay 0, on all tensors;
gradients of all tensors together clipped to norm 1 (factor min(1, 1 / (norm + 1e-6))); the rate of step s
= 0 .. 19 is 5e-4 * (1 + cos(pi s / 20)) / 2. (Official: 2e-5, same schedule.)

Keys, f64 unless said:
    inv_freq [3] f32, tokens [20, 2, 14] int32 (one batch a step), start/NAME f32: the teacher
    CASE/losses [20, 3]: loss, mean over sequences of the KL divergence summed over positions, and norm of
        all gradients before clipping
    CASE/gradient/NAME: of the first step, before clipping; CASE/end/NAME: after the last step
CASE is w4a8kv4, w4a16kv16 or w3a8kv8: bits of weights, activations, cache. NAME is blk.0.attn_q.weight
and so on. Every value to be rounded is 1e-10 or more from a tie, and starts disturbed by 1e-13 give the
same results: the script checks both. Ties are otherwise not rare: where attention mixes few positions, its
output is of few whole numbers, of which one may be half of the largest, 63.5 of 127.
"""
import math

import numpy as np
import torch
import torch.nn.functional as F

import rivals_llama as llama

STEPS, BATCH, LENGTH, RATE = 20, 2, 14, 5e-4
CASES = {"w4a8kv4": (4, 8, 4), "w4a16kv16": (4, 16, 16), "w3a8kv8": (3, 8, 8)}


def fake_quant(x, bits):
    if bits >= 16:
        return x
    step = x.detach().abs().amax(-1, keepdim=True) / (2 ** (bits - 1) - 1)
    step = torch.where(step == 0, 1.0, step)
    return llama.PassThrough.apply(x, step * llama.rounded(x.detach() / step))


def student_logits(weights, tokens, bits):
    weight_bits, activation_bits, cache_bits = bits

    def linear_of(weights, i):
        def linear(name, x):
            w = fake_quant(weights[f"blk.{i}.{name}.weight"], weight_bits)
            return F.linear(fake_quant(x, activation_bits), w)
        return linear

    return llama.logits(weights, tokens, linear=linear_of, cached=lambda y: fake_quant(y, cache_bits))


def train(start, tokens, bits):
    """The arrays of one case."""
    weights = {name: value.clone().requires_grad_() for name, value in start.items()}
    optimizer = torch.optim.AdamW(weights.values(), lr=RATE, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * step / STEPS)))
    table, stored = [], {}
    for step in range(STEPS):
        with torch.no_grad():
            teacher = llama.logits(start, tokens[step]).log_softmax(-1)
        student = student_logits(weights, tokens[step], bits).log_softmax(-1)
        loss = -(teacher.exp() * student).sum() / BATCH
        kl = (teacher.exp() * (teacher - student)).sum() / BATCH
        optimizer.zero_grad()
        loss.backward()
        if step == 0:
            stored |= {f"gradient/{name}": value.grad.numpy().copy() for name, value in weights.items()}
        norm = torch.nn.utils.clip_grad_norm_(weights.values(), 1.0)
        table.append([loss.item(), kl.item(), norm.item()])
        optimizer.step()
        schedule.step()
    stored |= {f"end/{name}": value.detach().numpy() for name, value in weights.items()}
    return {"losses": np.array(table)} | stored


def main():
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    start = llama.make_weights(seed=18)
    tokens = llama.make_tokens(18, STEPS, BATCH, LENGTH)
    llama.check_against_transformers(start, tokens[0])
    stored = {"inv_freq": llama.INV_FREQ.numpy(), "tokens": tokens.numpy().astype(np.int32)}
    stored |= {f"start/{name}": value.float().numpy() for name, value in start.items()}
    for case, bits in CASES.items():
        found = llama.check_stable(lambda weights, bits=bits: train(weights, tokens, bits), start, 1e-9)
        print(case, "loss, KL, norm: first", found["losses"][0], "last", found["losses"][-1])
        stored |= {f"{case}/{key}": value for key, value in found.items()}
    config = {"steps": STEPS, "rate": RATE, "clip": 1.0, "betas": [0.9, 0.999], "weight_decay": 0.0,
              "cases": {case: dict(zip(("weights", "activations", "cache"), bits))
                        for case, bits in CASES.items()}}
    llama.write(llama.OUT / "llm_qat.safetensors", stored, "make_llm_qat.py", config)


if __name__ == "__main__":
    main()

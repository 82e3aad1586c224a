#!/usr/bin/env python3
"""Writes tests/golden/rivals/bitnet.safetensors: BitNet's layers, and training with them, in f64.

Needs torch 2.11, transformers 5.24, numpy 2, safetensors; re-run: tools/golden/make_bitnet.py
BitNet: arXiv 2310.11453. BitNet b1.58: arXiv 2402.17764. FAQ: "The Era of 1-bit LLMs: Training Tips, Code
and FAQ" (github.com/microsoft/unilm, folder bitnet), which has the authors' code of both layers. The model
is that of rivals_llama.py, which says what its names and layouts are.

Both layers: y = q(norm(x)) w(W)^T, for x [..., in], W [out, in], without bias; round is half to even.
    norm     bitnet: LayerNorm without parameters (the paper's SubLN), (x - mean) / sqrt(var + 1e-5), var
             the mean of squares about the mean (the FAQ, section 4, changes only w between the two and
             so has RMSNorm in both). bitnet158: RMSNorm, x / sqrt(mean(x^2) + 1e-5), without parameters
             (FAQ, figure 3) or times a weight [in]. Epsilon is the model's, no source names one.
    q        s = 127 / max(max |n|, 1e-5) of n = norm(x);  q(n) = clamp(round(n s), -128, 127) / s,
             with the maximum over a token, the last dimension (FAQ, both layers).
    w        bitnet: b * sign(W - mean W), b = mean |W| (not of W - mean W); paper, section 2.1. sign(0)
             is -1 in the paper, 0 in the FAQ; no value here is 0.
             bitnet158: g * clamp(round(W / g), -1, 1), g = max(mean |W|, 1e-5). (FAQ; the paper has
             W / (g + epsilon).)
    backward dy w(W) is passed through q to norm(x) and differentiated through norm; the gradient of W is
             dy^T q(norm(x)). Nothing is masked, no scale is differentiated (STE, FAQ figure 3).
Per token, not per tensor: BitNet's paper quantises activations per tensor in training, per token at
inference (section 2.1), the FAQ's code per token in both. Per token is chosen: then a sequence's output
depends neither on the batch nor on the tokens after it, and training sees what inference computes. The
variant bitnet_tensor has one maximum over all of x. Where the paper's Qb is 128 with a clip a little
inside, the FAQ has 127. What the paper adds for activations before nonlinear functions is neither in the
FAQ nor here.
Variant bitnet_groups (section 2.3): the rows of W in G equal blocks of consecutive rows, each with its
own mean and b; activations as above.

Layers, keys layer/K/..., K = 0 .. 3; x, weight, norm_weight, upstream (dL/dy) f32, others f64:
    x [tokens, in] (a token of layer 3 is all zeros), weight [out, in], upstream [tokens, out],
    norm_weight [in]; (out, in, tokens) is (24, 36, 5), (7, 10, 3), (40, 20, 1), (32, 64, 9)
    VARIANT/y, VARIANT/grad_x, VARIANT/grad_weight of bitnet, bitnet_tensor, bitnet_groups (G = 2, where
    out is even), bitnet158, bitnet158_norms (times norm_weight, with VARIANT/grad_norm_weight)

Training from scratch, keys run/CASE/...: in all blocks, the seven matrices are such layers and the norms
before attention and FFN are gone, for every layer has its own (FAQ, section 3). Embedding, head and the
RMSNorm output_norm stay in full precision. Cases:
    bitnet, bitnet158   norms without parameters
    bitnet158_norms     RMSNorm with weights, of which layers with one input share one: attn_norm (attn_q,
                        attn_k, attn_v), attn_sub_norm (attn_output), ffn_norm (ffn_gate, ffn_up),
                        ffn_sub_norm (ffn_down): as in the released models
Loss: mean cross-entropy of the next token, [B, T - 1]. AdamW on all tensors, epsilon 1e-8 added to the
root, no clipping; before the update every tensor is multiplied by 1 - rate * decay. Step s of S = 20 with
W = 2 steps of warm-up has the rate peak * (s + 1) / W for s < W, else peak * (S - s) / (S - W).
    bitnet      peak 6e-3, betas 0.9 and 0.98, decay 0.01
    bitnet158*  peak 6e-3 and decay 0.1 for s < S / 2, then peak 4e-3 and decay 0; betas 0.9 and 0.95 (FAQ,
                figure 1 and table 2, with 1.5e-3 and 1e-3)
    inv_freq [3] f32, tokens [20, 4, 14] int32 (one batch a step), start/NAME f32: for all cases; a case
        uses those that it has (NAME: blk.0.attn_q.weight ...)
    run/CASE/losses [20], rates [20], decays [20]; run/CASE/end/NAME: after the last step
    run/CASE/gradient/output_norm.weight: of the first step
Every value to be rounded is 1e-10 or more from a tie, every W as far from the mean, and starts disturbed
by 1e-13 give the same results: the script checks it. Ties are otherwise common where
norms have no weights: at the first position attention hands on v as it is, whole numbers k times one factor,
so attn_output's input is rounded at 127 k / max k (of RMSNorm; 127 / 2 for k = max k / 2). The seed of the
runs was chosen so that none occurs.
"""
import numpy as np
import torch
import torch.nn.functional as F

import rivals_llama as llama

STEPS, WARMUP, BATCH, LENGTH, RUN_SEED = 20, 2, 4, 14, 66
LAYERS = [(24, 36, 5), (7, 10, 3), (40, 20, 1), (32, 64, 9)]  # out, in, tokens
VARIANTS = {  # of bit_linear()
    "bitnet": {},
    "bitnet_tensor": {"per_tensor": True},
    "bitnet_groups": {"groups": 2},
    "bitnet158": {"ternary": True},
    "bitnet158_norms": {"ternary": True},
}
NORM_OF = {"attn_q": "attn_norm", "attn_k": "attn_norm", "attn_v": "attn_norm", "attn_output": "attn_sub_norm",
           "ffn_gate": "ffn_norm", "ffn_up": "ffn_norm", "ffn_down": "ffn_sub_norm"}
CASES = {
    "bitnet": {"peaks": (6e-3, 6e-3), "decays": (0.01, 0.01), "betas": (0.9, 0.98)},
    "bitnet158": {"peaks": (6e-3, 4e-3), "decays": (0.1, 0.0), "betas": (0.9, 0.95)},
    "bitnet158_norms": {"peaks": (6e-3, 4e-3), "decays": (0.1, 0.0), "betas": (0.9, 0.95)},
}


def layer_norm(x):
    centred = x - x.mean(-1, keepdim=True)
    return centred / torch.sqrt(centred.pow(2).mean(-1, keepdim=True) + llama.EPS)


def quantise_activations(x, per_tensor):
    largest = x.abs().amax() if per_tensor else x.abs().amax(-1, keepdim=True)
    scale = 127 / largest.clamp(min=1e-5)
    return llama.rounded(x * scale).clamp(-128, 127) / scale


def binary(w, groups):
    parts = w.unflatten(0, (groups, -1))
    mean = parts.mean((1, 2), keepdim=True)
    scale = parts.abs().mean((1, 2), keepdim=True)
    llama.note_distance((parts - mean).abs() / scale)
    return (torch.where(parts > mean, 1.0, -1.0) * scale).flatten(0, 1)


def ternary_of(w):
    scale = w.abs().mean().clamp(min=1e-5)
    return llama.rounded(w / scale).clamp(-1, 1) * scale


def bit_linear(x, weight, norm_weight=None, ternary=False, per_tensor=False, groups=1):
    n = llama.rms_norm(x, norm_weight) if ternary else layer_norm(x)
    with torch.no_grad():
        quantised = quantise_activations(n, per_tensor)
        w = ternary_of(weight) if ternary else binary(weight, groups)
    return F.linear(llama.PassThrough.apply(n, quantised), llama.PassThrough.apply(weight, w))


def layer_inputs(seed):
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    inputs = {}
    for k, (rows, columns, tokens) in enumerate(LAYERS):
        inputs |= {f"layer/{k}/x": 3 * normal(tokens, columns),
                   f"layer/{k}/weight": 0.2 * normal(rows, columns) + 0.01,
                   f"layer/{k}/norm_weight": 1 + 0.2 * normal(columns),
                   f"layer/{k}/upstream": normal(tokens, rows)}
    inputs["layer/3/x"][4] = 0
    return {name: value.float().double() for name, value in inputs.items()}


def layer_results(inputs):
    results = {}
    for k, (rows, _, _) in enumerate(LAYERS):
        for variant, options in VARIANTS.items():
            if rows % options.get("groups", 1):
                continue
            names = ["x", "weight"] + (["norm_weight"] if variant.endswith("_norms") else [])
            leaves = {name: inputs[f"layer/{k}/{name}"].clone().requires_grad_() for name in names}
            y = bit_linear(**leaves, **options)
            y.backward(inputs[f"layer/{k}/upstream"])
            results[f"layer/{k}/{variant}/y"] = y.detach().numpy()
            results |= {f"layer/{k}/{variant}/grad_{name}": leaf.grad.numpy() for name, leaf in leaves.items()}
    return results


def start_weights(seed):
    weights = llama.make_weights(seed)
    generator = torch.Generator().manual_seed(seed + 1)
    for i in range(llama.BLOCKS):
        for name, size in (("attn_sub_norm", llama.DIM), ("ffn_sub_norm", llama.FFN)):
            norm = 1 + 0.1 * torch.randn(size, generator=generator, dtype=torch.float64)
            weights[f"blk.{i}.{name}.weight"] = norm.float().double()
    return weights


def has(case, name):
    """Whether the model of a case has that tensor."""
    return not (name.startswith("blk.") and "_norm." in name) or case.endswith("_norms")


def no_norm(weights, i):
    return lambda name, x: x


def train(start, tokens, case):
    """The arrays of one case."""
    settings, options = CASES[case], VARIANTS[case]
    weights = {name: value.clone().requires_grad_() for name, value in start.items() if has(case, name)}

    def linear_of(weights, i):
        return lambda name, x: bit_linear(x, weights[f"blk.{i}.{name}.weight"],
                                          weights.get(f"blk.{i}.{NORM_OF[name]}.weight"), **options)

    optimizer = torch.optim.AdamW(weights.values(), betas=settings["betas"], eps=1e-8)
    stored, losses, rates, decays = {}, [], [], []
    for step in range(STEPS):
        stage = 2 * step // STEPS
        factor = (step + 1) / WARMUP if step < WARMUP else (STEPS - step) / (STEPS - WARMUP)
        rates.append(settings["peaks"][stage] * factor)
        decays.append(settings["decays"][stage])
        optimizer.param_groups[0].update(lr=rates[-1], weight_decay=decays[-1])
        logits = llama.logits(weights, tokens[step], norm=no_norm, linear=linear_of)
        loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[step][:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        if step == 0:
            stored["gradient/output_norm.weight"] = weights["output_norm.weight"].grad.numpy().copy()
        optimizer.step()
        losses.append(loss.item())
    stored |= {f"end/{name}": value.detach().numpy() for name, value in weights.items()}
    return {"losses": np.array(losses), "rates": np.array(rates), "decays": np.array(decays)} | stored


def main():
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    inputs = layer_inputs(seed=31)
    stored = {name: value.float().numpy() for name, value in inputs.items()}
    stored |= llama.check_stable(layer_results, inputs, 1e-9)
    start = start_weights(seed=RUN_SEED)
    tokens = llama.make_tokens(RUN_SEED, STEPS, BATCH, LENGTH)
    llama.check_against_transformers(start, tokens[0])
    stored |= {"inv_freq": llama.INV_FREQ.numpy(), "tokens": tokens.numpy().astype(np.int32)}
    stored |= {f"start/{name}": value.float().numpy() for name, value in start.items()}
    for case in CASES:
        found = llama.check_stable(lambda weights, case=case: train(weights, tokens, case), start, 1e-9)
        print(case, "loss: first", found["losses"][0], "last", found["losses"][-1])
        stored |= {f"run/{case}/{key}": value for key, value in found.items()}
    config = {"layers": LAYERS, "steps": STEPS, "warmup": WARMUP, "cases": CASES, "variants": VARIANTS}
    llama.write(llama.OUT / "bitnet.safetensors", stored, "make_bitnet.py", config)


if __name__ == "__main__":
    main()

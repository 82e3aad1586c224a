#!/usr/bin/env python3
"""Golden values of OneBit distillation: tests/golden/training/{start,run,variants}.safetensors.

Usage: tools/golden/make_training.py STORIES260K_BIN [OUT_DIR]

Needs torch 2.11, numpy and safetensors. STORIES260K_BIN is karpathy/tinyllamas' stories260K.bin
(llama2.c's version 0: seven int32, then f32 tensors). Everything is float64 and plain PyTorch,
written from the formulas of the reference implementation (github.com/xuyuzhuang11/OneBit):
1-bit linears with a tanh straight-through gradient, batch-mean KL, normalised hidden states, AdamW,
clipping at norm 1, cosine schedule. One convention differs on purpose: sign(0) = +1.

start: g and h of every matrix (rank-1 fit of |W|), tokens, rotary frequencies.
run: 20 steps on fixed tokens sampled from the teacher. Small tensors are stored whole, the others
as 16 projections on fixed +-1 vectors (see `signs`): for a difference d, the mean over projections
of (d . r)^2 estimates |d|^2, so no error of any one weight can hide. The set of weights whose sign
flipped is stored whole, bit-packed.
variants: the same run for each option that the first does not use, everything as projections, and
the losses of all its steps.
"""
import json
import math
import pathlib
import sys

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import save_file

STEPS, BATCH, LENGTH, LR, PROJECTIONS = 20, 2, 32, 2e-3, 16
MATRICES = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"]
WHOLE = ["blk.0.attn_q.latent", "blk.4.attn_k.latent"]  # stored in full beside their projections
VARIANTS = {  # name: options of losses(), and "adam", "norms", "tied", "group" of train()
    "alpha": {"alpha": 0.7},
    "per_token": {"per_token": True},
    "temperature": {"temperature": 2.0, "alpha": 0.7},
    "cross_entropy": {"cross_entropy": True},
    "hidden_last": {"hidden_last": True},
    "gamma": {"gamma": 0.5},
    "adam": {"adam": True},
    "norms": {"norms": True},
    "free": {"norm": False},
    "foldable": {"norm": False, "tied": True},
    "groups": {"norm": False, "tied": True, "group": 32},
}
# Matrices that share their input scale, and by whose name it goes.
OWNER = {"attn_k": "attn_q", "attn_v": "attn_q", "ffn_up": "ffn_gate"}


class Model:
    """Sizes, frozen tensors and matrices of the teacher, float64."""

    def __init__(self, path):
        raw = pathlib.Path(path).read_bytes()
        header = np.frombuffer(raw, "<i4", 7)
        self.dim, self.ffn, self.layers, self.heads, self.kv_heads, self.vocab, _ = map(int, header)
        self.head_dim = self.dim // self.heads
        values = torch.from_numpy(np.frombuffer(raw, "<f4", offset=28).astype(np.float64))
        position = 0

        def take(*shape):
            nonlocal position
            count = math.prod(shape)
            position += count
            return values[position - count:position].reshape(shape)

        n, kv = self.layers, self.kv_heads * self.head_dim
        self.embedding = take(self.vocab, self.dim)
        self.attn_norm = take(n, self.dim)
        stacks = {"attn_q": take(n, self.dim, self.dim), "attn_k": take(n, kv, self.dim),
                  "attn_v": take(n, kv, self.dim), "attn_output": take(n, self.dim, self.dim)}
        self.ffn_norm = take(n, self.dim)
        stacks["ffn_gate"] = take(n, self.ffn, self.dim)
        stacks["ffn_down"] = take(n, self.dim, self.ffn)
        stacks["ffn_up"] = take(n, self.ffn, self.dim)
        self.output_norm = take(self.dim)
        self.weights = {f"blk.{i}.{m}": stacks[m][i] for i in range(n) for m in MATRICES}
        # Frequencies in f32, as transformers has them; angles in float64.
        exponent = torch.arange(0, self.head_dim, 2, dtype=torch.int64).float() / self.head_dim
        self.inv_freq = 1.0 / (10000.0 ** exponent)

    def rms_norm(self, x, weight):
        return x / torch.sqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * weight

    def rotate(self, x):  # [B, T, H, head_dim], neighbouring pairs
        angle = torch.outer(torch.arange(x.shape[1]).double(), self.inv_freq.double())
        turn = torch.polar(torch.ones_like(angle), angle)[:, None, :]
        pairs = torch.view_as_complex(x.reshape(*x.shape[:-1], -1, 2).contiguous())
        return torch.view_as_real(pairs * turn).flatten(-2)

    def norms(self):
        """The weights of all norms by name."""
        weights = {f"blk.{i}.{kind}_norm.weight": stack[i] for i in range(self.layers)
                   for kind, stack in (("attn", self.attn_norm), ("ffn", self.ffn_norm))}
        return weights | {"output_norm.weight": self.output_norm}

    def forward(self, tokens, linear, norms=None):
        """linear(name, x) -> y. Returns logits, states 0..L, attention weights."""
        norms = norms or self.norms()
        x = self.embedding[tokens]
        states, attention = [x], []
        length = tokens.shape[1]
        future = torch.ones(length, length, dtype=torch.bool).triu(1)
        for i in range(self.layers):
            n = self.rms_norm(x, norms[f"blk.{i}.attn_norm.weight"])

            def split(name, heads):
                return linear(f"blk.{i}.{name}", n).unflatten(-1, (heads, self.head_dim))

            q = self.rotate(split("attn_q", self.heads)).transpose(1, 2)
            k = self.rotate(split("attn_k", self.kv_heads)).transpose(1, 2)
            v = split("attn_v", self.kv_heads).transpose(1, 2)
            k, v = (t.repeat_interleave(self.heads // self.kv_heads, 1) for t in (k, v))
            scores = (q @ k.transpose(2, 3) / math.sqrt(self.head_dim)).masked_fill(future, -math.inf)
            weights = scores.softmax(-1)
            attention.append(weights)
            x = x + linear(f"blk.{i}.attn_output", (weights @ v).transpose(1, 2).flatten(2))
            n = self.rms_norm(x, norms[f"blk.{i}.ffn_norm.weight"])
            gated = F.silu(linear(f"blk.{i}.ffn_gate", n)) * linear(f"blk.{i}.ffn_up", n)
            x = x + linear(f"blk.{i}.ffn_down", gated)
            states.append(x)
        return self.rms_norm(x, norms["output_norm.weight"]) @ self.embedding.T, states, attention


class Sign(torch.autograd.Function):
    @staticmethod
    def forward(ctx, w):
        ctx.save_for_backward(w)
        return torch.where(w < 0, -1.0, 1.0).to(w.dtype)

    @staticmethod
    def backward(ctx, grad):
        (w,) = ctx.saved_tensors
        return grad * (1.001 - torch.tanh(w) ** 2)


def svid(w, iterations=200):
    """|w| ~ h g^T by power iteration, the weight split evenly: the start of g and h."""
    a = w.abs()
    g = torch.ones(a.shape[1], dtype=a.dtype)
    for _ in range(iterations):
        h = a @ g
        h = h / h.norm()
        g = a.T @ h
    scale = g.norm().sqrt()
    return g / scale, h * scale


def value_rows(model):
    """For every input of attn_output the row of attn_v that it is a mixture of."""
    j = torch.arange(model.heads * model.head_dim)
    group = model.heads // model.kv_heads
    return j // model.head_dim // group * model.head_dim + j % model.head_dim


def tie(model, parameters):
    """One g, the mean, for matrices that read the same, and for inputs from the same row of attn_v."""
    rows = value_rows(model)
    for name in model.weights:
        layer, matrix = name.rsplit(".", 1)
        sharing = [m for m in MATRICES if OWNER.get(m, m) == matrix]
        if not sharing:
            continue
        g = torch.stack([parameters[f"{layer}.{m}.g"] for m in sharing]).mean(0)
        if matrix == "attn_output":
            values = torch.zeros(model.kv_heads * model.head_dim, dtype=g.dtype)
            g = values.index_add(0, rows, g) / (model.heads // model.kv_heads)
        for m in sharing:
            del parameters[f"{layer}.{m}.g"]
        parameters[f"{name}.g"] = g


def start_parameters(model, norms=False, tied=False, group=0):
    parameters = dict(model.norms()) if norms else {}
    for name, w in model.weights.items():
        g, h = svid(w)
        parameters[f"{name}.latent"] = 0.01 * torch.where(w < 0, -1.0, 1.0).to(w.dtype)
        parameters[f"{name}.g"], parameters[f"{name}.h"] = g, h
        if group:  # not all alike, so that no exchange of groups can hide
            step = 1 + 0.01 * torch.arange(-(-w.shape[1] // group), dtype=w.dtype)
            parameters[f"{name}.h"] = h[:, None] * step
    if tied:
        tie(model, parameters)
    return {name: value.clone().requires_grad_() for name, value in parameters.items()}


def losses(model, parameters, tokens, alpha=1.0, scale=0.01, beta=1.0, gamma=0.0, temperature=1.0,
           per_token=False, cross_entropy=False, hidden_last=False, norm=True, tied=False, group=0):
    """The loss and its terms, unweighted. Where `parameters` holds norms, the student's are these."""
    def one_bit(name, x):
        layer, matrix = name.rsplit(".", 1)
        g = parameters[f"{layer}.{OWNER.get(matrix, matrix) if tied else matrix}.g"]
        if tied and matrix == "attn_output":
            g = g[value_rows(model)]
        sign, h = Sign.apply(parameters[f"{name}.latent"]), parameters[f"{name}.h"]
        if group:
            return F.linear(x * g, sign * h.repeat_interleave(group, 1)[:, :sign.shape[1]])
        y = F.linear(x * g, sign) * h
        return F.layer_norm(y, y.shape[-1:], eps=1e-5) if norm else y

    with torch.no_grad():
        t_logits, t_states, t_attention = model.forward(
            tokens, lambda name, x: F.linear(x, model.weights[name]))
    norms = {name: value for name, value in parameters.items() if name.endswith("_norm.weight")}
    logits, states, attention = model.forward(tokens, one_bit, norms)
    log_student, teacher = F.log_softmax(logits / temperature, 2), F.softmax(t_logits / temperature, 2)
    kl = F.kl_div(log_student, teacher, reduction="batchmean")
    term = -(teacher * log_student).sum() / tokens.shape[0] if cross_entropy else kl
    term = temperature ** 2 * term / (tokens.shape[1] if per_token else 1)
    ce = F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
    hidden = 0.0
    for a, b in list(zip(states, t_states))[:model.layers + (1 if hidden_last else 0)]:
        a, b = (F.normalize(t.flatten(0, 1), p=2, dim=1) for t in (a, b))
        hidden = hidden + torch.mean(torch.norm(a - b, p=2, dim=1) ** 2)
    attn = 0.0
    for a, b in zip(attention, t_attention):
        attn = attn + torch.mean(torch.norm(a.flatten(0, 2) - b.flatten(0, 2), p=2, dim=1) ** 2)
    total = alpha * scale * term + (1 - alpha) * ce + beta * hidden + gamma * attn
    return total, kl, ce, hidden, attn


def sample_tokens(model):
    """[STEPS, BATCH, LENGTH] drawn from the teacher, each sequence from BOS (id 1)."""
    generator = torch.Generator().manual_seed(260)
    tokens = torch.ones(STEPS * BATCH, 1, dtype=torch.int64)
    with torch.no_grad():
        while tokens.shape[1] < LENGTH:
            logits, _, _ = model.forward(tokens, lambda name, x: F.linear(x, model.weights[name]))
            drawn = torch.multinomial(logits[:, -1].softmax(-1), 1, generator=generator)
            tokens = torch.cat([tokens, drawn], 1)
    return tokens.reshape(STEPS, BATCH, LENGTH)


def train(model, tokens, adam=False, norms=False, **options):
    """Returns start, gradients of step 1 before clipping, end (all by name) and the step table."""
    parameters = start_parameters(model, norms, options.get("tied", False), options.get("group", 0))
    start = {name: value.detach().clone() for name, value in parameters.items()}
    optimizer = (torch.optim.Adam if adam else torch.optim.AdamW)(
        parameters.values(), lr=LR, betas=(0.9, 0.98), eps=1e-8, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * step / STEPS)))
    table, gradients = [], {}
    for step in range(STEPS):
        optimizer.zero_grad()
        total, kl, ce, hidden, attention = losses(model, parameters, tokens[step], **options)
        total.backward()
        if step == 0:
            gradients = {name: value.grad.clone() for name, value in parameters.items()}
        norm = torch.nn.utils.clip_grad_norm_(parameters.values(), 1.0)
        table.append([float(v.detach()) for v in (total, kl, ce, hidden, norm, attention)])
        optimizer.step()
        schedule.step()
    end = {name: value.detach() for name, value in parameters.items()}
    return start, gradients, end, np.array(table)


def splitmix64(start, count):
    """Outputs number start .. start+count-1 of the generator SplitMix64 seeded with 0."""
    with np.errstate(over="ignore"):
        z = (np.arange(start + 1, start + count + 1, dtype=np.uint64)
             * np.uint64(0x9E3779B97F4A7C15))
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def signs(count):
    """[PROJECTIONS, count] of +-1: element i of vector p is -1 where bit i%64 of output number
    p * ceil(count/64) + i//64 is set."""
    words = (count + 63) // 64
    raw = splitmix64(0, PROJECTIONS * words).astype("<u8").view(np.uint8)
    bits = np.unpackbits(raw, bitorder="little").reshape(PROJECTIONS, words * 64)[:, :count]
    return 1.0 - 2.0 * bits


def project(tensor):
    flat = tensor.detach().numpy().ravel()
    return signs(flat.size) @ flat


def evidence(prefix, tensors, whole):
    """g and h of all layers in full, latents as projections and norms, `whole` ones in full."""
    out = {}
    for name, value in tensors.items():
        if not name.endswith(".latent") or name in whole:
            out[f"{prefix}/{name}"] = value.detach().numpy()
        if name.endswith(".latent"):
            out[f"{prefix}/{name}.projections"] = project(value)
            out[f"{prefix}/{name}.norm"] = np.array([value.detach().norm().item()])
    return out


def projections(prefix, tensors):
    """Every tensor as projections and norm."""
    out = {}
    for name, value in tensors.items():
        out[f"{prefix}/{name}.projections"] = project(value)
        out[f"{prefix}/{name}.norm"] = np.array([value.detach().norm().item()])
    return out


def flipped(prefix, start, end):
    """The signs that differ, bit-packed; how many do, and how many there are."""
    out, count, total = {}, 0, 0
    for name, value in end.items():
        if name.endswith(".latent"):
            flips = ((value < 0) != (start[name] < 0)).numpy().ravel()
            count, total = count + int(flips.sum()), total + flips.size
            out[f"{prefix}/{name}"] = np.packbits(flips, bitorder="little").view(np.int8)
    return out, count, total


def provenance(source):
    return {"script": "tools/golden/make_training.py", "torch": torch.__version__,
            "numpy": np.__version__, "model": f"karpathy/tinyllamas {pathlib.Path(source).name}",
            "licence": "MIT"}


def write(tensors, path, metadata):
    save_file(tensors, path, metadata)
    path.chmod(0o644)


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    torch.set_num_threads(1)
    model = Model(sys.argv[1])
    out = pathlib.Path(sys.argv[2] if len(sys.argv) == 3 else "tests/golden/training")
    out.mkdir(parents=True, exist_ok=True)
    tokens = sample_tokens(model)
    start, gradients, end, table = train(model, tokens)

    stored = {name: value.numpy() for name, value in start.items() if not name.endswith(".latent")}
    stored |= {"tokens": tokens.numpy().astype(np.int32), "inv_freq": model.inv_freq.numpy()}
    write(stored, out / "start.safetensors", provenance(sys.argv[1]))

    stored = {"losses": table}
    stored |= evidence("gradient", gradients, WHOLE) | evidence("end", end, WHOLE)
    signs_flipped, count, total = flipped("flipped", start, end)
    stored |= signs_flipped
    print(f"losses: first {table[0]}, last {table[-1]}")
    print(f"flipped {count} of {total} signs: {100 * count / total:.2f} %")
    config = {"steps": STEPS, "lr": LR, "flipped": count, "weights": total}
    metadata = provenance(sys.argv[1]) | {"config": json.dumps(config)}
    write(stored, out / "run.safetensors", metadata)

    stored = {}
    for name, options in VARIANTS.items():
        start, gradients, end, table = train(model, tokens, **options)
        stored[f"{name}/losses"] = table
        stored |= projections(f"{name}/gradient", gradients) | projections(f"{name}/end", end)
        signs_flipped, count, total = flipped(f"{name}/flipped", start, end)
        stored |= signs_flipped
        if "tied" in options:
            stored |= {f"{name}/start/{key}": value.numpy() for key, value in start.items()
                       if key.endswith((".g", ".h"))}
        print(f"{name}: flipped {count} of {total} signs: {100 * count / total:.2f} %")
    write(stored, out / "variants.safetensors", provenance(sys.argv[1]))


if __name__ == "__main__":
    main()

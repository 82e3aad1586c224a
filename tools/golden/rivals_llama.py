"""A tiny llama in float64, which the references of the methods that train share.

A module for make_omniquant.py, make_llm_qat.py and make_bitnet.py beside it; needs torch 2.11 and numpy,
and transformers 5.24 with what make_logits.py needs for check_against_transformers().

The model: V = 40 tokens, D = 36, 6 query heads and 2 key-value heads of 6, FFN 40, 2 blocks, head and
embedding apart. Names and layout are GGUF's: a matrix is [out, in], y = x W^T, and the rotary pairs of a
head are neighbours (2i, 2i+1), rotated by position * inv_freq[i]. inv_freq = 10000^(-2i/6) in f32, angles
in f64. RMSNorm(x) = x / sqrt(mean(x^2) + 1e-5) * weight. A block:
    n = attn_norm(x); q, k, v = n Wq^T, n Wk^T, n Wv^T; rotate q and k; query head h reads key-value head
    h // 3; softmax(q k^T / sqrt(6)) over positions up to its own; x += (softmax v) Wo^T
    n = ffn_norm(x); x += (silu(n Wgate^T) * (n Wup^T)) Wdown^T
Then logits = output_norm(x) head^T.
"""
import importlib.metadata
import json
import math
import pathlib

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import save_file

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests/golden/rivals"
VOCAB, DIM, HEADS, KV_HEADS, HEAD_DIM, FFN, BLOCKS, EPS = 40, 36, 6, 2, 6, 40, 2, 1e-5
KV_DIM = KV_HEADS * HEAD_DIM
SHAPES = {"attn_q": (DIM, DIM), "attn_k": (KV_DIM, DIM), "attn_v": (KV_DIM, DIM), "attn_output": (DIM, DIM),
          "ffn_gate": (FFN, DIM), "ffn_up": (FFN, DIM), "ffn_down": (DIM, FFN)}
MARGIN = 1e-10  # of every rounding to the next tie; f64 arithmetic in another order moves 127 by 1e-13
nearest_tie = math.inf
INV_FREQ = 1.0 / (10000.0 ** (torch.arange(0, HEAD_DIM, 2, dtype=torch.int64).float() / HEAD_DIM))


def make_weights(seed, gain=1.0):
    """All tensors of the model by name: f64 with values that f32 holds. A matrix is
    N(0, gain^2 / in), embedding and head N(0, 1) and N(0, 1 / D), norms 1 + N(0, 0.1^2)."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    weights = {"token_embd.weight": normal(VOCAB, DIM)}
    for i in range(BLOCKS):
        weights[f"blk.{i}.attn_norm.weight"] = 1 + 0.1 * normal(DIM)
        weights[f"blk.{i}.ffn_norm.weight"] = 1 + 0.1 * normal(DIM)
        for name, (rows, columns) in SHAPES.items():
            weights[f"blk.{i}.{name}.weight"] = gain * normal(rows, columns) / math.sqrt(columns)
    weights["output_norm.weight"] = 1 + 0.1 * normal(DIM)
    weights["output.weight"] = normal(VOCAB, DIM) / math.sqrt(DIM)
    return {name: value.float().double() for name, value in weights.items()}


def make_tokens(seed, *shape):
    """Token ids that can be learned: each of the V tokens is followed by one of three."""
    rng = np.random.default_rng(seed)
    successors = rng.integers(VOCAB, size=(VOCAB, 3))
    tokens = np.empty(shape, dtype=np.int64)
    tokens[..., 0] = rng.integers(VOCAB, size=shape[:-1])
    for t in range(1, shape[-1]):
        tokens[..., t] = successors[tokens[..., t - 1], rng.integers(3, size=shape[:-1])]
    return torch.from_numpy(tokens)


def rms_norm(x, weight=None, bias=None):
    y = x / torch.sqrt(x.pow(2).mean(-1, keepdim=True) + EPS)
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def rotate(x):
    """x [B, T, heads, HEAD_DIM]."""
    angle = torch.outer(torch.arange(x.shape[1]).double(), INV_FREQ.double())
    turn = torch.polar(torch.ones_like(angle), angle)[:, None, :]
    pairs = torch.view_as_complex(x.unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * turn).flatten(-2)


def same(x):
    return x


def block(x, norm, linear, cached=same, operand=same):
    """One block, x [B, T, D]. norm(name, x) and linear(name, x) give the output of a layer; cached(y)
    replaces keys before rotation and values, [B, T, KV_DIM]; operand(t) replaces q, k (both rotated) and
    v as attention's products read them, [B, HEADS, T, HEAD_DIM]."""
    n = norm("attn_norm", x)
    q, k, v = linear("attn_q", n), cached(linear("attn_k", n)), cached(linear("attn_v", n))
    q, k = rotate(q.unflatten(-1, (HEADS, HEAD_DIM))), rotate(k.unflatten(-1, (KV_HEADS, HEAD_DIM)))
    v = v.unflatten(-1, (KV_HEADS, HEAD_DIM))
    k, v = (t.repeat_interleave(HEADS // KV_HEADS, 2) for t in (k, v))
    q, k, v = (operand(t.transpose(1, 2)) for t in (q, k, v))
    future = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
    scores = (q @ k.transpose(2, 3) / math.sqrt(HEAD_DIM)).masked_fill(future, -math.inf)
    x = x + linear("attn_output", (scores.softmax(-1) @ v).transpose(1, 2).flatten(2))
    n = norm("ffn_norm", x)
    gated = F.silu(linear("ffn_gate", n)) * linear("ffn_up", n)
    return x + linear("ffn_down", gated)


def full_norm(weights, i):
    return lambda name, x: rms_norm(x, weights[f"blk.{i}.{name}.weight"])


def full_linear(weights, i):
    return lambda name, x: F.linear(x, weights[f"blk.{i}.{name}.weight"])


def logits(weights, tokens, norm=full_norm, linear=full_linear, cached=same):
    """[B, T, V] of tokens [B, T]; norm(weights, i) and linear(weights, i) give those of block i."""
    x = weights["token_embd.weight"][tokens]
    for i in range(BLOCKS):
        x = block(x, norm(weights, i), linear(weights, i), cached)
    return F.linear(rms_norm(x, weights["output_norm.weight"]), weights["output.weight"])


def check_against_transformers(weights, tokens):
    """Fails unless transformers' LlamaForCausalLM, in f64, gives the same logits."""
    from transformers import LlamaConfig, LlamaForCausalLM
    import sensitivity_reference
    config = LlamaConfig(
        vocab_size=VOCAB, hidden_size=DIM, num_attention_heads=HEADS, num_key_value_heads=KV_HEADS,
        head_dim=HEAD_DIM, intermediate_size=FFN, num_hidden_layers=BLOCKS, rms_norm_eps=EPS,
        tie_word_embeddings=False, rope_parameters={"rope_type": "default", "rope_theta": 10000.0})
    theirs = {"model.embed_tokens.weight": weights["token_embd.weight"],
              "model.norm.weight": weights["output_norm.weight"], "lm_head.weight": weights["output.weight"]}
    places = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
              "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
              "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
              "ffn_down": "mlp.down_proj"}
    for i in range(BLOCKS):
        for name, place in places.items():
            w = weights[f"blk.{i}.{name}.weight"]
            if name in ("attn_q", "attn_k"):  # there, pairs are (i, i + HEAD_DIM / 2)
                w = w.unflatten(0, (-1, HEAD_DIM // 2, 2)).transpose(1, 2).flatten(0, 2)
            theirs[f"model.layers.{i}.{place}.weight"] = w
    model = LlamaForCausalLM(config).double().eval()
    model.load_state_dict(theirs)
    model.set_attn_implementation("sdpa")  # eager attention takes its softmax in f32
    with torch.no_grad(), sensitivity_reference.f64_everywhere():
        difference = (model(tokens, use_cache=False).logits - logits(weights, tokens)).abs().max().item()
    assert difference < 1e-12, difference
    print(f"as transformers: largest difference of logits {difference:.1e}")


def note_distance(distance):
    """Remembers how near, in units of levels, a rounding came to a tie or a comparison to equality."""
    global nearest_tie
    nearest_tie = min(nearest_tie, distance.min().item())


def rounded(x):
    """Half to even."""
    note_distance((x - x.floor() - 0.5).abs())
    return x.round()


class PassThrough(torch.autograd.Function):
    """Forward the second argument, backward to the first: the straight-through estimator."""
    @staticmethod
    def forward(ctx, x, quantised):
        return quantised

    @staticmethod
    def backward(ctx, grad):
        return grad, None


def disturbed(weights, seed=1):
    """Every value times 1 + 1e-13 u, u uniform in -1 .. 1."""
    generator = torch.Generator().manual_seed(seed)

    def factor(shape):
        return 1 + 1e-13 * (2 * torch.rand(shape, generator=generator, dtype=torch.float64) - 1)

    return {name: value * factor(value.shape) for name, value in weights.items()}


def largest_difference(a, b):
    """The largest |a - b| / (rms(b) + |b|) over all tensors, and whose it is."""
    worst, where = 0.0, ""
    for name, value in b.items():
        scale = np.sqrt(np.mean(value**2)) + np.abs(value) + 1e-300
        found = float((np.abs(a[name] - value) / scale).max())
        worst, where = max((worst, where), (found, name))
    return worst, where


def check_stable(run, weights, bound):
    """Returns run(weights), tensors by name. Fails if a rounding came to a tie, or if weights that differ
    by 1e-13, far more than other orders of summation do, move any result beyond `bound`."""
    global nearest_tie
    nearest_tie = math.inf
    results = run(weights)
    near = nearest_tie
    worst, where = largest_difference(run(disturbed(weights)), results)
    print(f"nearest tie {near:.1e}; disturbed by 1e-13: {worst:.1e} in {where}")
    assert near > MARGIN and worst < bound
    return results


def write(path, tensors, script, config):
    versions = {p: importlib.metadata.version(p) for p in ("torch", "numpy", "safetensors")}
    # One entry: the order of several differs from run to run.
    provenance = {"made_by": f"tools/golden/{script}", "versions": versions, "config": config}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, path,
              {"provenance": json.dumps(provenance)})
    path.chmod(0o644)
    print(f"{path.name}: {len(tensors)} tensors, {path.stat().st_size} bytes")

"""What a matrix costs when it alone is 1-bit, by transformers and numpy.

A module for the scripts beside it and in tools/accept/; needs torch, transformers and numpy. Nothing of
it follows the program's code: scales are the leading singular pair of |W| by numpy's SVD, the model is
transformers', divergences are log_softmax's in f64.

Forms are the program's: free W^ = sign(W) * h g^T; paper the same with a LayerNorm without parameters
on the output (epsilon 1e-5); foldable with one g for all matrices that read one input, and behind
attention one value of it for all query heads of a key-value head.
"""
import contextlib
import dataclasses

import numpy as np
import torch
from transformers.models.llama import modeling_llama

import make_logits
import smollm2_reference

NORM_EPS = 1e-5
READ_TOGETHER = (("attn_q", "attn_k", "attn_v"), ("attn_output",), ("ffn_gate", "ffn_up"), ("ffn_down",))


def leading_pair(a):
    """h, g of the best rank-1 fit h g^T of a >= 0, with equal root mean squares."""
    u, s, v = np.linalg.svd(a, full_matrices=False)
    h, g = np.abs(u[:, 0]) * s[0], np.abs(v[0])
    level = np.sqrt(np.sqrt((g**2).mean() / (h**2).mean()))
    return h * level, g / level


def module_of(model, name):
    """The linear layer of "blk.3.attn_q"."""
    return model.get_submodule(smollm2_reference.hf_name(name + ".weight").removesuffix(".weight"))


def weights_of(model, name):
    return module_of(model, name).weight.detach().double().numpy()


def shared_scales(model, name):
    """h and g (of every input) of the matrix in the form foldable."""
    block, role = name.rsplit(".", 1)
    together = next(roles for roles in READ_TOGETHER if role in roles)
    stacked = [np.abs(weights_of(model, f"{block}.{other}")) for other in together]
    a, tie = np.concatenate(stacked), np.arange(stacked[0].shape[1])
    config = model.config
    if role == "attn_output":  # [out, kv heads, query heads of each, head_dim]
        heads = config.num_attention_heads
        tie = tie.reshape(config.num_key_value_heads, heads // config.num_key_value_heads, -1)
        tie = np.broadcast_to(np.arange(tie.shape[0] * tie.shape[2]).reshape(tie.shape[0], 1, -1),
                              tie.shape).reshape(-1)
        a = np.stack([a[:, tie == t].mean(1) for t in range(tie.max() + 1)], 1)
    h, g = leading_pair(a)
    begin = sum(len(part) for part in stacked[:together.index(role)])
    return h[begin:begin + len(stacked[together.index(role)])], g[tie]


def one_bit(model, name, form, f16):
    """W^ of the matrix; f16: of scales that are stored so."""
    w = weights_of(model, name)
    h, g = shared_scales(model, name) if form == "foldable" else leading_pair(np.abs(w))
    if f16:
        h = h.astype(np.float16).astype(np.float64)
        if form != "foldable":  # else g goes into a tensor that stays f32
            g = g.astype(np.float16).astype(np.float64)
    return np.where(w < 0, -1.0, 1.0) * np.outer(h, g)


class Replaced(torch.nn.Module):
    """The quantised layer; adds up how far its output is from the full one's."""

    def __init__(self, full, weights, norm):
        super().__init__()
        self.full, self.norm = full, norm
        self.weight = torch.from_numpy(weights).to(full.weight.dtype)
        self.square_error = self.square_norm = 0.0

    def forward(self, x):
        y = torch.nn.functional.linear(x, self.weight)
        if self.norm:
            y = torch.nn.functional.layer_norm(y, y.shape[-1:], eps=NORM_EPS)
        full = self.full(x)
        self.square_error += float((full - y).double().square().sum())
        self.square_norm += float(full.double().square().sum())
        return y


@contextlib.contextmanager
def replaced(model, name, weights, norm):
    path = smollm2_reference.hf_name(name + ".weight").removesuffix(".weight")
    full = model.get_submodule(path)
    probe = Replaced(full, weights, norm)
    model.set_submodule(path, probe)
    try:
        yield probe
    finally:
        model.set_submodule(path, full)


def f64_rotary(self, x, position_ids):
    """LlamaRotaryEmbedding in f64, from the same f32 frequencies."""
    angles = position_ids[..., None].double() * self.inv_freq.double()
    angles = torch.cat((angles, angles), -1)
    return angles.cos().to(x.dtype), angles.sin().to(x.dtype)


@contextlib.contextmanager
def f64_everywhere():
    """transformers' Llama without the steps that it takes in f32 whatever the model's type."""
    norm, rotary = modeling_llama.LlamaRMSNorm.forward, modeling_llama.LlamaRotaryEmbedding.forward
    modeling_llama.LlamaRMSNorm.forward = make_logits.f64_norm
    modeling_llama.LlamaRotaryEmbedding.forward = f64_rotary
    try:
        yield
    finally:
        modeling_llama.LlamaRMSNorm.forward, modeling_llama.LlamaRotaryEmbedding.forward = norm, rotary


def logits_of(model, windows):
    """[windows, c - 1, vocabulary] of windows [windows, c]: the last token is predicted only."""
    model.set_attn_implementation("sdpa")  # eager attention takes its softmax in f32
    with torch.no_grad(), (f64_everywhere() if model.dtype == torch.float64 else contextlib.nullcontext()):
        return model(windows[:, :-1], use_cache=False).logits


@dataclasses.dataclass
class Cost:
    kl: np.ndarray   # of every position, nats
    nll: np.ndarray
    relative_error: float = 0.0
    output_error: float = 0.0

    @staticmethod
    def error(values):
        return float(values.std(ddof=1) / np.sqrt(len(values)))

    def ppl(self):
        return float(np.exp(self.nll.mean()))


def compare(full, logits, windows):
    p, q = full.double().log_softmax(-1), logits.double().log_softmax(-1)
    nll = -q.gather(-1, windows[:, 1:, None])
    return Cost(kl=(p.exp() * (p - q)).sum(-1).flatten().numpy(), nll=nll.flatten().numpy())


def cost(model, full, windows, name, form, f16):
    """What the matrix costs, and the logits of the model in which it alone is quantised."""
    w, quantised = weights_of(model, name), one_bit(model, name, form, f16)
    with replaced(model, name, quantised, form == "paper") as probe:
        logits = logits_of(model, windows)
    result = compare(full, logits, windows)
    result.relative_error = float(((w - quantised)**2).sum() / (w**2).sum())
    result.output_error = probe.square_error / probe.square_norm
    return result, logits


def bound(kl, epsilon):
    """How far mean KL moves when logits, of both models, move by epsilon at most (src/quant/sensitivity.h);
    epsilon squared for what is beyond the first order."""
    return 2 * epsilon * (np.sqrt(2 * kl) + kl) + epsilon**2

#!/usr/bin/env python3
"""Writes tests/golden/rivals/omniquant.safetensors: OmniQuant (arXiv 2308.13137) of two blocks, in f64.

Needs torch 2.11, transformers 5.24, numpy 2, safetensors; re-run: tools/golden/make_omniquant.py
The blocks are those of rivals_llama.py, which says what their names and layouts are. Below, "official" is
the code github.com/OpenGVLab/OmniQuant, which decides where the paper is silent.

Affine fake quantisation of x between `low` and `high` to N bits (equation 2), Q = 2^N - 1:
    s = clamp((high - low) / Q, 1e-5, 1e4),   z = round(clamp(-low / s, -1e4, 1e4)),
    x_q = s * (clamp(round(x / s) + z, 0, Q) - z)
Rounds half to even. Gradients: round(x / s) has that of x / s (STE), z none; the clamp passes those of
values at 0 and Q too; s is differentiated, through low and high as well (the clamps of s never act here).
z may lie outside 0 .. Q, where low and high have one sign.

Weights (LWC, equation 2): every row of W, or every group of a row, has gamma and beta, which start at 4:
    high = sigmoid(gamma) * max W, low = sigmoid(beta) * min W over the row or group.
Group g of G columns is columns G g .. G (g + 1) - 1; the last is shorter where G does not divide `in`
(official refuses that when asymmetric). gamma and beta are [out, groups]. N is that of the case.

Activations: low and high are the minimum and maximum over the last dimension, without clipping, per token
and call, both differentiated. Quantised so: the input of each of the seven matrices [B, T, in], and as
attention's products read them q, k (both rotated) and v, [B, heads, T, head_dim], a head at a time.
Softmax's output is not (section 4.1). N = 16: none of these is.

LET (equations 3 to 5), a = 0.01 as the least magnitude. s: scales, d: shifts, both per channel:
    attn_norm -> attn_q, attn_k, attn_v        qkv_scale, qkv_shift [D]
    ffn_norm  -> ffn_up, ffn_gate              ffn_scale, ffn_shift [D]
    attn_v    -> attn_output                   out_scale, out_shift [KV_DIM]
    attn_q    -> attn_k                        qk_scale [KV_DIM]
with norm weight w / s, bias -d / s; weights that read it W * s (columns), bias W d; then
    attn_v: rows / out_scale, bias (b - out_shift) / out_scale; attn_output: columns * out_scale, bias W d;
    attn_q: rows and bias / qk_scale; attn_k: rows and bias * qk_scale
W d with the W of the full-precision model. ffn_down is not transformed. LWC and rounding follow, biases
stay unrounded. Query heads of one key-value head share its channels: channel c of query head h uses
entry (h // 3) * 6 + c (official has no such models). qk_scale acts before rotation, and the two channels
of a pair are free to differ (official), though only equal ones leave the block's function as it is.
Before every forward pass and before the last use, scales with |s| < a are set to sign(s) a (official).

Start: qk_scale 1; others (SmoothQuant's) clamp(A^alpha / M^(1 - alpha), >= 1e-5), with A the maximum of
|input| over all tokens of the matrix in the full-precision model, M the maximum of |W| over its rows, both
clamped to >= 1e-5; the matrix is attn_q for qkv, ffn_up for ffn, attn_output for out, for which A and M
are the maximum over the channels that share an entry. Shifts: 0, and trained only in the case with
shifts (official: never in a llama, in others with quantised activations): those start at the mean of
maximum and minimum over the tokens of a sample, averaged over samples as m <- 0.99 m + 0.01 (new) from
the first sample's; for out again of that of the channels that share an entry, their mean.

Training, block by block: the target is the full-precision block's output for the full-precision input;
the input of the quantised block is the output of the quantised blocks before it (the same for block 0).
Loss: mean of squares over [1, T, D]. Batch of one sample; 5 epochs over the 4 samples in order = 20 steps.
AdamW, betas 0.9 and 0.999, epsilon 1e-8 added to the root, no weight decay, no clipping, constant rates,
fresh for each block. Rates: 5e-3 for LWC and 1e-2 for LET (section 4.1; official defaults are the other
way round, its scripts for W4A4 of Llama-2 have 1e-3 for LET). alpha is 0.5 (official), 0.75 in the case
with shifts (official for W4A4 of OPT). After the last step the block's weights are fake-quantised with the
parameters reached, and its output is the next block's input.

Cases (the metadata has bits, group, rates, alpha):
    w2a16 LWC; w2a16g16 LWC in groups of 16 (36 = 16 + 16 + 4 and 40 = 16 + 16 + 8 columns); w3a16g16_let LWC
    and LET; w4a4 and w6a6 LWC and LET; w4a4_shift LWC and LET with shifts.
Keys, f64 unless said (i is 0 or 1, NAME a matrix such as attn_q):
    inv_freq [3] f32, inputs [4, 12, 36] f32, start/blk.i.NAME.weight f32, also of the norms
    act_max/blk.i.NAME, act_shift/blk.i.NAME [in], NAME attn_q, ffn_up, attn_output: A and m before
        channels that share an entry are joined
    CASE/losses [2, 20]; CASE/outputs [4, 12, 36]: of block 1, quantised
    CASE/blk.i/LET [21, n]: each trained scale or shift at the start and after every step
    CASE/blk.i/attn_k.gamma.steps, .beta.steps [21, out * groups]: the same of one matrix
    CASE/blk.i/NAME.gamma, .beta [out, groups]: after the last step
    CASE/blk.0/gradient/PARAMETER: of the first step, block 0 only (PARAMETER a LET name or NAME.gamma ...)
    CASE/blk.i/NAME.weight, f32: transformed and fake-quantised, then rounded to f32; with LET also those
        of both norms, and with shifts .bias of norms and matrices
Every value to be rounded is 1e-10 or more from a tie, and weights disturbed by 1e-13 give the same results:
the script checks it. An extreme that several elements share, bit for bit, passes equal parts of its gradient
to each (torch.amax). That happens at the first position, where attention hands on quantised values as they
are, and nowhere else (checked too).
"""
import numpy as np
import torch
import torch.nn.functional as F

import rivals_llama as llama

SAMPLES, LENGTH, EPOCHS, LEAST = 4, 12, 5, 1e-2
PAPER = {"lwc_rate": 5e-3, "let_rate": 1e-2, "alpha": 0.5, "group": 0, "activations": 16, "let": False,
         "shift": False}
CASES = {
    "w2a16": PAPER | {"weights": 2},
    "w2a16g16": PAPER | {"weights": 2, "group": 16},
    "w3a16g16_let": PAPER | {"weights": 3, "group": 16, "let": True},
    "w4a4": PAPER | {"weights": 4, "activations": 4, "let": True},
    "w6a6": PAPER | {"weights": 6, "activations": 6, "let": True},
    "w4a4_shift": PAPER | {"weights": 4, "activations": 4, "let": True, "shift": True, "alpha": 0.75},
}
# The entry of out_scale or qk_scale of every channel of the query heads.
SHARED = (torch.arange(llama.HEADS)[:, None] // (llama.HEADS // llama.KV_HEADS) * llama.HEAD_DIM
          + torch.arange(llama.HEAD_DIM)).flatten()
MATRIX_OF = {"qkv": "attn_q", "ffn": "ffn_up", "out": "attn_output"}  # whose statistics start a scale


def round_ste(x):
    return llama.PassThrough.apply(x, llama.rounded(x.detach()))


def fake_quant(x, low, high, bits):
    top = 2**bits - 1
    step = ((high - low) / top).clamp(1e-5, 1e4)
    zero = llama.rounded((-low / step).clamp(-1e4, 1e4).detach())
    return step * ((round_ste(x / step) + zero).clamp(0, top) - zero)


def quantise_tokens(x, bits):
    if bits >= 16:
        return x
    low, high = x.amin(-1, keepdim=True), x.amax(-1, keepdim=True)
    for values in (x, -x):  # how near the second extreme is; see the top for the first position
        best = values.detach()[..., 1:, :].topk(2, -1).values
        llama.note_distance((best[..., 0] - best[..., 1]) * (2**bits - 1) / (high - low).detach()[..., 1:, 0])
    return fake_quant(x, low, high, bits)


def quantise_weight(w, gamma, beta, case):
    parts = []
    for g, part in enumerate(w.split(case["group"] or w.shape[1], 1)):
        high = gamma[:, g:g + 1].sigmoid() * part.amax(1, keepdim=True)
        low = beta[:, g:g + 1].sigmoid() * part.amin(1, keepdim=True)
        parts.append(fake_quant(part, low, high, case["weights"]))
    return torch.cat(parts, 1)


class QuantisedBlock:
    """A block with its LWC and LET parameters, f64."""

    def __init__(self, weights, case, act_max, act_shift):
        self.weights, self.case, self.lwc, self.let = weights, case, {}, {}
        for name, (rows, columns) in llama.SHAPES.items():
            groups = -(-columns // (case["group"] or columns))
            self.lwc[f"{name}.gamma"] = torch.full((rows, groups), 4.0, dtype=torch.float64)
            self.lwc[f"{name}.beta"] = self.lwc[f"{name}.gamma"].clone()
        if case["let"]:
            self.let = {"qk_scale": torch.ones(llama.KV_DIM, dtype=torch.float64)}
            for key, name in MATRIX_OF.items():
                largest, shift = act_max[name], act_shift[name]
                columns = weights[f"{name}.weight"].abs().amax(0)
                if key == "out":
                    largest, columns = (joined(t, "amax") for t in (largest, columns))
                    shift = joined(shift, "mean")
                alpha = case["alpha"]
                scale = largest.clamp(min=1e-5)**alpha / columns.clamp(min=1e-5)**(1 - alpha)
                self.let[f"{key}_scale"] = scale.clamp(min=1e-5)
                if case["shift"]:
                    self.let[f"{key}_shift"] = shift.clone()
        for value in self.parameters().values():
            value.requires_grad_()

    def parameters(self):
        return self.let | self.lwc

    def keep_scales_apart_from_zero(self):
        with torch.no_grad():
            for name, s in self.let.items():
                if name.endswith("_scale"):
                    s.copy_(torch.where(s.abs() < LEAST, s.sign() * LEAST, s))

    def transformed(self):
        """Weights and biases, the latter None without shifts, by name."""
        w = {name: self.weights[f"{name}.weight"] for name in (*llama.SHAPES, "attn_norm", "ffn_norm")}
        full, b = dict(w), dict.fromkeys(w)
        if not self.let:
            return w, b
        for norm, key, readers in (("attn_norm", "qkv", ("attn_q", "attn_k", "attn_v")),
                                   ("ffn_norm", "ffn", ("ffn_gate", "ffn_up"))):
            scale, shift = self.let[f"{key}_scale"], self.let.get(f"{key}_shift")
            w[norm] = w[norm] / scale
            if shift is not None:
                b[norm] = -shift / scale
            for name in readers:
                w[name] = w[name] * scale
                if shift is not None:
                    b[name] = full[name] @ shift
        out, qk = self.let["out_scale"], self.let["qk_scale"]
        w["attn_v"] = w["attn_v"] / out[:, None]
        w["attn_output"] = w["attn_output"] * out[SHARED]
        w["attn_q"], w["attn_k"] = w["attn_q"] / qk[SHARED][:, None], w["attn_k"] * qk[:, None]
        if self.case["shift"]:
            shift = self.let["out_shift"]
            b["attn_v"] = (b["attn_v"] - shift) / out
            b["attn_output"] = full["attn_output"] @ shift[SHARED]
            b["attn_q"], b["attn_k"] = b["attn_q"] / qk[SHARED], b["attn_k"] * qk
        return w, b

    def quantised(self):
        self.keep_scales_apart_from_zero()
        w, b = self.transformed()
        for name in llama.SHAPES:
            w[name] = quantise_weight(w[name], self.lwc[f"{name}.gamma"], self.lwc[f"{name}.beta"], self.case)
        return w, b

    def forward(self, x, w, b):
        bits = self.case["activations"]
        return llama.block(
            x, norm=lambda name, x: llama.rms_norm(x, w[name], b[name]),
            linear=lambda name, x: F.linear(quantise_tokens(x, bits), w[name], b[name]),
            operand=lambda t: quantise_tokens(t, bits))


def joined(values, how):
    """One value for the channels that share an entry."""
    return getattr(values.unflatten(0, (llama.KV_HEADS, -1, llama.HEAD_DIM)), how)(1).flatten()


def statistics(weights, inputs):
    """By block, and by matrix: A, m; and the outputs of the full-precision blocks."""
    act_max, act_shift, targets, x = [], [], [], inputs
    for i in range(llama.BLOCKS):
        seen, linear = {}, llama.full_linear(weights, i)

        def watched(name, x, seen=seen, linear=linear):
            seen[name] = x
            return linear(name, x)

        x = llama.block(x, llama.full_norm(weights, i), watched)
        targets.append(x)
        act_max.append({name: t.abs().amax((0, 1)) for name, t in seen.items()})
        middle = {name: (t.amax(1) + t.amin(1)) / 2 for name, t in seen.items()}
        act_shift.append({name: average(t) for name, t in middle.items()})
    return act_max, act_shift, targets


def average(values):
    mean = values[0]
    for new in values[1:]:
        mean = 0.99 * mean + 0.01 * new
    return mean


def train(weights, inputs, case):
    """The arrays of one case."""
    act_max, act_shift, targets = statistics(weights, inputs)
    x, losses, stored = inputs, [], {}
    for i in range(llama.BLOCKS):
        of_block = {name.removeprefix(f"blk.{i}."): value for name, value in weights.items()}
        layer = QuantisedBlock(of_block, case, act_max[i], act_shift[i])
        optimizer = torch.optim.AdamW([{"params": layer.let.values(), "lr": case["let_rate"]},
                                       {"params": layer.lwc.values(), "lr": case["lwc_rate"]}],
                                      betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0)
        followed = layer.let | {f"attn_k.{p}.steps": layer.lwc[f"attn_k.{p}"] for p in ("gamma", "beta")}
        track = {name: [value.detach().numpy().flatten()] for name, value in followed.items()}
        for step in range(EPOCHS * SAMPLES):
            sample = step % SAMPLES
            loss = F.mse_loss(layer.forward(x[sample:sample + 1], *layer.quantised()),
                              targets[i][sample:sample + 1])
            optimizer.zero_grad()
            loss.backward()
            if i == 0 and step == 0:
                stored |= {f"blk.0/gradient/{name}": value.grad.numpy().copy()
                           for name, value in layer.parameters().items()}
            optimizer.step()
            losses.append(loss.item())
            for name, value in followed.items():
                track[name].append(value.detach().numpy().flatten())
        with torch.no_grad():
            w, b = layer.quantised()
            x = layer.forward(x, w, b)
        stored |= {f"blk.{i}/{name}": np.array(value) for name, value in track.items()}
        stored |= {f"blk.{i}/{name}": value.detach().numpy() for name, value in layer.lwc.items()}
        stored |= {f"blk.{i}/{name}.weight": value.float().numpy() for name, value in w.items()
                   if case["let"] or not name.endswith("_norm")}
        stored |= {f"blk.{i}/{name}.bias": value.float().numpy() for name, value in b.items()
                   if value is not None}
    return {"losses": np.array(losses).reshape(llama.BLOCKS, -1), "outputs": x.numpy()} | stored


def check_equivalent(weights, inputs):
    """Fails unless LET with any parameters, qk_scale alike within rotary pairs, and no rounding leaves
    the block's output as it is."""
    act_max, act_shift, targets = statistics(weights, inputs)
    of_block = {name.removeprefix("blk.0."): value for name, value in weights.items()}
    layer = QuantisedBlock(of_block, CASES["w4a4_shift"] | {"activations": 16}, act_max[0], act_shift[0])
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for value in layer.let.values():
            value *= 1 + 0.3 * torch.rand(value.shape, generator=generator, dtype=torch.float64)
        layer.let["qk_scale"][1::2] = layer.let["qk_scale"][::2]
        difference = (layer.forward(inputs, *layer.transformed()) - targets[0]).abs().max().item()
    assert difference < 1e-12, difference


def make_inputs(seed):
    """[SAMPLES, LENGTH, D] with two channels of outliers, one of them around a mean."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(SAMPLES, LENGTH, llama.DIM, generator=generator, dtype=torch.float64)
    x[..., 5] *= 6
    x[..., 20] = 2 * x[..., 20] + 7
    return x.float().double()


def main():
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    weights = llama.make_weights(seed=27)
    llama.check_against_transformers(weights, llama.make_tokens(27, 2, LENGTH))
    weights = {name: value for name, value in weights.items() if name.startswith("blk.")}
    inputs = make_inputs(seed=27)
    check_equivalent(weights, inputs)
    act_max, act_shift, _ = statistics(weights, inputs)
    stored = {"inv_freq": llama.INV_FREQ.numpy(), "inputs": inputs.float().numpy()}
    stored |= {f"start/{name}": value.float().numpy() for name, value in weights.items()}
    for i in range(llama.BLOCKS):
        for name in MATRIX_OF.values():
            stored[f"act_max/blk.{i}.{name}"] = act_max[i][name].numpy()
            stored[f"act_shift/blk.{i}.{name}"] = act_shift[i][name].numpy()
    for name, case in CASES.items():
        found = llama.check_stable(lambda weights, case=case: train(weights, inputs, case), weights, 1e-9)
        epochs = found["losses"].reshape(llama.BLOCKS, EPOCHS, SAMPLES).mean(2)
        print(name, "loss of the blocks: first epoch", epochs[:, 0], "last", epochs[:, -1])
        stored |= {f"{name}/{key}": value for key, value in found.items()}
    config = {"samples": SAMPLES, "epochs": EPOCHS, "cases": CASES}
    llama.write(llama.OUT / "omniquant.safetensors", stored, "make_omniquant.py", config)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Writes tests/golden/rivals/plain_types.safetensors: f16, bf16 and int8 as numpy and torch round to them.

Needs torch 2.11, numpy 2, scipy and safetensors. Re-run from the project's root:
    tools/golden/make_plain_types.py
Conventions: tools/golden/ptq_reference.py.

values                    f32 [n]: ordinary ones, ties, subnormals, both ends, infinities.
{f16,bf16}/ieee           i32 [n]: bits of the nearest number of the type, ties to even; beyond the largest
                          finite one plus half a step: infinity (f16 from 65520 on, bf16 from 2^128 - 2^119).
{f16,bf16}/saturated      i32 [n]: the same, but a finite value never becomes infinite: it becomes the largest
                          finite number of its sign (65504; 0x7f7f). Infinities stay. NaN, which stays NaN with
                          bits of no fixed pattern, is not among the values.

W                         f32 [20, 36]. Row 17 is tiny, row 18 zero, row 19 has no negative weight.
<case>/codes              i32 [20, 36]
<case>/scale, /zero       f64 [rows, groups]; per tensor [1, 1], per row [20, 1], per group of 16 [20, 3]
<case>/clipped            i32 [1]: weights whose code was limited by the end of the range
<case>/weight             f64 [20, 36]: scale * (code - zero)
Cases: {symmetric,affine}/{tensor,row,group,group_clip,row_f16}; metadata `cases` has their settings.

hi = max |w| (symmetric) or lo = min(w, 0), hi = max(w, 0) (affine), of the tensor, row or group; where all
is 0, hi = 1; then both times `clip`, 1 or 0.8.
symmetric: scale = hi / 127, zero = 0, code = clamp(round(w / scale), -127, 127): -128 is not used.
affine:    scale = (hi - lo) / 255, zero = -128 + round(-lo / scale), code = clamp(round(w / scale) + zero,
           -128, 127).
f16: the scale is rounded to f16 before zero and codes are computed from it; a scale that would become 0 is
2^-24, one that would become infinite 65504. The sources agree on these formulas (arXiv 1712.05877 section 2;
torch.ao.quantization's min-max observers) and leave open only what the last two paragraphs settle.
"""
import numpy as np
import torch

import ptq_reference as ptq

SCRIPT = "make_plain_types.py"


def float_values(rng):
    f16_ties = [1 + 2**-11, 1 + 3 * 2**-11, 2**-25, 3 * 2**-25, 2**-24, 2**-14 - 2**-25]
    f16_ends = [65504, 65519.99, 65520, 65536, 1e6, 2**-26, 2**-15]
    bf16_ties = [1 + 2**-8, 1 + 3 * 2**-8, 1e-45, 2**-126 * 1.5]
    bf16_ends = [2.0**128 - 2.0**120, 2.0**128 - 2.0**119 - 2.0**104, 2.0**128 - 2.0**119,
                 2.0**128 - 2.0**104, np.inf, 0.0]
    special = np.array(f16_ties + f16_ends + bf16_ties + bf16_ends)
    ordinary = rng.standard_normal(64) * 10.0 ** rng.uniform(-9, 7, 64)
    with np.errstate(over="raise"):
        return np.concatenate([special, -special, ordinary]).astype(np.float32)


def as_bits(values, name, saturated):
    kind = {"f16": torch.float16, "bf16": torch.bfloat16}[name]
    rounded = torch.from_numpy(values).to(kind)
    if saturated:
        largest = torch.finfo(kind).max
        limited = rounded.clamp(-largest, largest)
        rounded = torch.where(torch.from_numpy(np.isinf(values)), rounded, limited)
    return rounded.view(torch.int16).numpy().view(np.uint16).astype(np.int32)


def f16_scale(scale):
    smallest, largest = 2.0**-24, 65504.0
    return np.clip(scale, smallest, largest).astype(np.float16).astype(np.float64)


def int8_part(w, affine, clip, round_scale):
    """codes, scale, zero, clipped, margin of one tensor, row or group [rows, n] under one scale."""
    lo, hi = (min(w.min(), 0), max(w.max(), 0)) if affine else (0, np.abs(w).max())
    lo, hi = lo * clip, (1 if lo == hi else hi) * clip
    low, high = (-128, 127) if affine else (-127, 127)
    scale = round_scale(np.float64((hi - lo) / (255 if affine else 127)))
    zero = -128 + np.round(-lo / scale) if affine else 0.0
    free = np.round(w / scale) + zero
    positions = np.concatenate([(w / scale).ravel(), [-lo / scale if affine else 0.0]])
    inside = (positions > low - zero - 1) & (positions < high - zero + 1)
    margin = np.abs(positions - np.floor(positions) - 0.5)[inside].min()
    codes = np.clip(free, low, high)
    return codes, scale, zero, int((free != codes).sum()), margin


def int8(w, affine, per, clip=1.0, round_scale=lambda scale: scale):
    rows = [slice(None)] if per == "tensor" else [slice(i, i + 1) for i in range(len(w))]
    columns = ptq.groups(w.shape[1], ptq.GROUP if per == "group" else 0)
    codes = np.zeros(w.shape)
    weight = np.zeros(w.shape)
    scale, zero = np.zeros((len(rows), len(columns))), np.zeros((len(rows), len(columns)))
    clipped, margin = 0, np.inf
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            codes[row, column], scale[i, j], zero[i, j], count, distance = int8_part(
                w[row, column], affine, clip, round_scale)
            weight[row, column] = scale[i, j] * (codes[row, column] - zero[i, j])
            clipped, margin = clipped + count, min(margin, distance)
    return {"codes": codes.astype(np.int32), "scale": scale, "zero": zero, "weight": weight,
            "clipped": np.array([clipped], np.int32)}, margin


def main():
    rng = np.random.default_rng(1)
    values = float_values(rng)
    tensors = {"values": values}
    for name in ("f16", "bf16"):
        tensors[f"{name}/ieee"] = as_bits(values, name, False)
        tensors[f"{name}/saturated"] = as_bits(values, name, True)

    w = ptq.draw_weights(rng)
    w[17] *= 1e-9
    w[18] = 0
    w[19] = np.abs(w[19])
    tensors["W"] = w
    options = {"tensor": {"per": "tensor"}, "row": {"per": "row"}, "group": {"per": "group"},
               "group_clip": {"per": "group", "clip": 0.8}, "row_f16": {"per": "row", "scale": "f16"}}
    cases = {}
    for affine in (False, True):
        for name, option in options.items():
            case = f"{'affine' if affine else 'symmetric'}/{name}"
            arguments = {"per": option["per"], "clip": option.get("clip", 1.0)}
            if "scale" in option:
                arguments["round_scale"] = f16_scale
            found, margin = int8(w.astype(np.float64), affine, **arguments)
            tensors |= {f"{case}/{key}": value for key, value in found.items()}
            cases[case] = option | {"group": ptq.GROUP if option["per"] == "group" else 0, "margin": margin}
            print(f"{case}: {found['clipped'][0]} clipped, error {ptq.weight_error(w, found['weight']):.3e}, "
                  f"margin {margin:.1e}")
            assert margin > 1e-7, case
    ptq.save("plain_types", SCRIPT, tensors, cases=cases)


if __name__ == "__main__":
    main()

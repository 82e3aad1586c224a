#!/usr/bin/env python3
"""Writes tests/golden/rivals/rtn.safetensors: rounding to nearest on uniform grids of 1 to 8 bits.

Needs numpy 2, scipy and safetensors. Re-run from the project's root: tools/golden/make_rtn.py
Conventions and the grid's formulas (GPTQ's quantiser, 1 bit included): tools/golden/ptq_reference.py.

W                   f32 [20, 36]. Row 18 is zero, row 19 has no negative weight.
<case>/codes        i32 [20, 36], 0 to 2^bits - 1
<case>/scale, zero  f64 [20, groups]: one group (row) or three (16, 16 and 4 columns)
<case>/error        f64 [1]: |W - W^|^2 / |W|^2, W^ = scale * (code - zero)
Cases: {1..8}/{symmetric,asymmetric}/{row,group}, and 4/{symmetric,asymmetric}/group_f16, whose scale is
rounded to f16 (to nearest even) before zero and codes are computed from it (a zero of 2^bits, which a scale
that was rounded down could give, does not occur). 1 bit symmetric: a zero row has scale 0 and codes 1.

The scale is (hi - lo) / maxq and the position w / scale, divided in this order in f64: implementations that
multiply by an inverse may differ at ties. Metadata `cases` has the settings.
"""
import numpy as np

import ptq_reference as ptq

SCRIPT = "make_rtn.py"


def f16(scale):
    return scale.astype(np.float16).astype(np.float64)


def rtn(w, bits, symmetric, group, round_scale=lambda scale: scale):
    parts = ptq.groups(w.shape[1], group)
    codes = np.zeros(w.shape, np.int32)
    scale, zero = np.zeros((len(w), len(parts))), np.zeros((len(w), len(parts)))
    weight, margin = np.zeros(w.shape), np.inf
    for j, part in enumerate(parts):
        scale[:, j], zero[:, j] = ptq.uniform_grid(w[:, part], bits, symmetric, round_scale)
        codes[:, part] = ptq.encode(w[:, part], scale[:, j], zero[:, j], bits)
        weight[:, part] = ptq.decode(codes[:, part], scale[:, j], zero[:, j])
        margin = min(margin, ptq.grid_margin(w[:, part], bits, symmetric),
                     ptq.code_margin(w[:, part], scale[:, j], zero[:, j], bits))
    return codes, scale, zero, weight, margin


def main():
    rng = np.random.default_rng(2)
    w = ptq.draw_weights(rng)
    w[18] = 0
    w[19] = np.abs(w[19])
    tensors, cases = {"W": w}, {}
    for bits in range(1, 9):
        for symmetric in (True, False):
            for name in ("row", "group") + (("group_f16",) if bits == 4 else ()):
                case = f"{bits}/{'symmetric' if symmetric else 'asymmetric'}/{name}"
                group = 0 if name == "row" else ptq.GROUP
                arguments = {"round_scale": f16} if name == "group_f16" else {}
                codes, scale, zero, weight, margin = rtn(w.astype(np.float64), bits, symmetric, group, **arguments)
                error = ptq.weight_error(w, weight)
                tensors |= {f"{case}/codes": codes, f"{case}/scale": scale, f"{case}/zero": zero,
                            f"{case}/error": np.array([error])}
                cases[case] = {"bits": bits, "symmetric": symmetric, "group": group,
                               "scale": "f16" if arguments else "f64", "margin": margin}
                print(f"{case}: error {error:.3e}, margin {margin:.1e}")
                assert margin > 1e-7, case
    ptq.save("rtn", SCRIPT, tensors, cases=cases)


if __name__ == "__main__":
    main()

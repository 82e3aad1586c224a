#!/usr/bin/env python3
"""Writes tests/golden/rivals/billm.safetensors: BiLLM's binarisation of one linear layer.

Needs numpy 2, scipy and safetensors. Re-run from the project's root: tools/golden/make_billm.py
BiLLM: arXiv 2402.04291. Conventions: tools/golden/ptq_reference.py; formulas of binarisation, of the choice of
groups and of blocks: tools/golden/binarization_reference.py.

Each block of W, as compensated by earlier blocks, falls into three groups: 0 salient columns, second order; the
rest by magnitude, 1 large and 2 small, each of first order. Groups are chosen by a matrix T of the block, and W
is binarised in them.
github (published results): with means. T = the saliency matrix s (metric hessian, the one of the examples) or
    T = W (metric magnitude). Salient columns: by sum over rows of |T|, both sides of second order, error of T.
    Split: thresholds are the percentiles 10 to 90 of |T| of the whole block in which the salient columns count as
    zeros; error of T - salient (second order) - large - small (first order).
paper: without means. Salient columns: ranked by the sum of s, both sides of first order, error of W. Split: thresholds
    p = i / 10 * max |W of the rest|, i = 1 to 9 (the paper's loop reads "0.1, 0.2, ..., 9"), |w| <= p small, error of
    the rest of W, first order.

<case> stands for the names in metadata `cases`, which has settings and margin. Case "wide" reads wide/W and wide/x,
"dead" dead/x, in which columns 5 and 17 are 0.
W, x               f32 [20, 44], [4, 24, 44]; wide [20, 160], [4, 48, 160]
<case>/salient     i8 [in]: 1 for salient columns
<case>/group       i8 [20, in]: 0, 1 or 2
<case>/threshold   f64 [blocks]: large is |T| >= threshold (paper: of |W|, the f64 number after p); where several
                   thresholds give the same groups, the first
<case>/mean, scale f64 [blocks, 3, 2, 20]: of block, group, order, row; 0 where a group has one order. Compare with an
                   absolute tolerance: what the second order finds in a row of one or two weights is rounding
<case>/sign        i8 [2, 20, in]: +-1; 0 for the second order outside salient columns, and where scale is 0 but for
                   rounding (one or two weights of a row in a group), where the sign does not matter
<case>/weight      f64 [20, in]: W^ = sum over orders of mean + scale * sign
<case>/error       f64 [2]: |W - W^|^2 / |W|^2, |(W - W^) X|^2 / |W X|^2
"""
import numpy as np

import binarization_reference as binary
import ptq_reference as ptq

SCRIPT = "make_billm.py"
COLUMNS = 44  # blocks of 16, 16 and 12: two columns in a group are binarised exactly, so tiny blocks only tie
ORDERS = (2, 1, 1)
CASES = {
    "github": {"form": "github", "metric": "hessian", "block": 16},
    "magnitude": {"form": "github", "metric": "magnitude", "block": 16},
    "one_block": {"form": "github", "metric": "hessian", "block": 128},
    "dead": {"form": "github", "metric": "hessian", "block": 16},
    "percdamp": {"form": "github", "metric": "hessian", "block": 16, "percdamp": 0.1},
    "wide": {"form": "github", "metric": "hessian", "block": 128},
    "paper": {"form": "paper", "metric": "hessian", "block": 16},
    "paper_one_block": {"form": "paper", "metric": "hessian", "block": 128},
}


def choose(w, u, form, metric, margin):
    """salient [columns], threshold and the masks of the three groups."""
    s = binary.saliency_matrix(w, u)
    mean = form == "github"
    t = s if mean and metric == "hessian" else w
    saliency = np.abs(t if mean else s).sum(0)
    salient = binary.salient_columns(t, saliency, margin, order=2 if mean else 1, mean=mean)
    first = np.broadcast_to(salient, w.shape)
    rest = ~first
    if mean:
        fixed = binary.residual(t, first, 2)
        thresholds = binary.percentiles(np.abs(t * rest))
    else:
        fixed = t * first
        # The next number up: |w| = p is small.
        thresholds = np.nextafter(np.arange(1, 10) / 10 * np.abs(t[rest]).max(initial=0), np.inf)

    def error_of(large, small):
        parts = binary.residual(t, large, 1, mean) + binary.residual(t, small, 1, mean)
        return np.mean((t - fixed - parts) ** 2)

    threshold, large, small = binary.split(t, rest, thresholds, error_of, margin)
    return salient, threshold, (first, large, small)


def binarize(w, masks, mean, margin):
    """W^, group numbers, means and scales [3, 2, rows], signs [2, rows, columns] of one block."""
    means, scales = np.zeros((3, 2, len(w))), np.zeros((3, 2, len(w)))
    signs, group = np.zeros((2, *w.shape)), np.zeros(w.shape, np.int8)
    weight = np.zeros(w.shape)
    for g, (mask, order) in enumerate(zip(masks, ORDERS)):
        m, s, b = binary.residual_terms(w, mask, order, mean)
        means[g, :order], scales[g, :order] = m, s
        matters = mask & binary.decided(s, w)
        signs[:order] += b * matters
        group[mask] = g
        left = w
        for o in range(order):
            margin.near((left - m[o][:, None])[matters[o]], np.abs(w).mean())
            left = left - m[o][:, None] - s[o][:, None] * b[o]
        weight += (m[:, :, None] + s[:, :, None] * b).sum(0) * mask
    return weight, group, means, scales, signs


def billm(w, x, form, metric, block, percdamp=0.01):
    margin = binary.Margin()

    def quantize(w, u, _):
        salient, threshold, masks = choose(w, u, form, metric, margin)
        weight, group, means, scales, signs = binarize(w, masks, form == "github", margin)
        return weight, (salient, threshold, group, means, scales, signs)

    weight, facts = binary.by_blocks(w, x, block, percdamp, quantize)
    salient, threshold, group, means, scales, signs = zip(*facts)
    return {"salient": np.concatenate(salient).astype(np.int8), "threshold": np.array(threshold),
            "group": np.concatenate(group, 1), "mean": np.array(means), "scale": np.array(scales),
            "sign": np.concatenate(signs, 2).astype(np.int8), "weight": weight,
            "error": np.array([ptq.weight_error(w, weight), ptq.output_error(w, weight, x)])}, margin.value


def rebuilt(found, block):
    """W^ from what is stored."""
    columns = np.arange(found["group"].shape[1]) // block
    rows = np.arange(len(found["group"]))[:, None]
    terms = [found["mean"][columns, found["group"], o, rows] + found["scale"][columns, found["group"], o, rows]
             * found["sign"][o] for o in range(2)]
    return sum(terms)


def main():
    rng = np.random.default_rng(701)
    w, x = ptq.draw_weights(rng, columns=COLUMNS), ptq.draw_inputs(rng, columns=COLUMNS)
    wide_w, wide_x = ptq.draw_weights(rng, columns=160, group=128), ptq.draw_inputs(rng, tokens=48, columns=160)
    dead = x.copy()
    dead[..., [5, 17]] = 0
    tensors = {"W": w, "x": x, "dead/x": dead, "wide/W": wide_w, "wide/x": wide_x}
    facts = {}
    for case, settings in CASES.items():
        inputs = {"dead": (w, dead), "wide": (wide_w, wide_x)}.get(case, (w, x))
        found, margin = billm(*inputs, **settings)
        assert np.allclose(rebuilt(found, settings["block"]), found["weight"])
        tensors |= {f"{case}/{key}": value for key, value in found.items()}
        facts[case] = settings | {"margin": margin}
        print(f"{case}: errors {found['error']}, {found['salient'].sum()} salient, "
              f"groups {np.bincount(found['group'].ravel())}, margin {margin:.1e}")
        assert margin > 1e-9, case
    ptq.save("billm", SCRIPT, tensors, cases=facts)


if __name__ == "__main__":
    main()

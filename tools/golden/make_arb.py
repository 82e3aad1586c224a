#!/usr/bin/env python3
"""Writes tests/golden/rivals/{arb,arb_layers}.safetensors: ARB-LLM's binarisation, of masks and of layers.

Needs numpy 2, scipy and safetensors. Re-run from the project's root: tools/golden/make_arb.py
ARB-LLM: arXiv 2410.03129. Conventions: tools/golden/ptq_reference.py; first and second order without refinement, the
choice of groups and blocks: tools/golden/binarization_reference.py. Numbers of iterations (T = 15, and 15 more with
inputs) are the official program's, as are the first values, which are those of the plain binarisation.

Below w is a row (or column) restricted to the mask, m ones there, n its weights, <,> sums over them; 0/0 = 0. In the
order written, each with the newest of the others; all rows at once.
arb, order 1 (section 3.1, Algorithm 1):
    mu = mean(w - a b), a = <b, w - mu> / n, b = sign(w - mu).                    Error: |W - W^|^2 / |W|^2 on the mask.
arb, order 2 (Algorithm 2): W^ = mu + a1 b1 + a2 b2; mu starts as the sum of both means.
    mu = mean(w - a1 b1 - a2 b2), a1 = <b1, w - mu - a2 b2> / n, a2 = <b2, w - mu - a1 b1> / n,
    b1, b2 = the nearest to w - mu of the levels -a1 - a2, -a1 + a2, a1 - a2, a1 + a2 (the first of equal ones).
arb_x (section 3.2): first T iterations of arb; then with S = X^T X (any multiple), b fixed,
    order 1: mu = m^T S (w - a b) / m^T S m, a = b^T S (w - mu m) / b^T S b
    order 2: mu = m^T S (w - a1 b1 - a2 b2) / m^T S m, a1 = b1^T S (w - mu m - a2 b2) / b1^T S b1, a2 alike.
    Error: tr(D S D^T) / tr(W S W^T), D = W - W^ and W on the mask.
arb_rc (section 3.3; without mu): W^_ij = r_i c_j b_ij, order 2: + r'_i c'_j b'_ij.
    First values, each order from what the one before leaves: r_i = mean_j |w_ij|, c_j = mean |w_ij| / r_i over rows of
    the mask with r_i > 0, b = sign(w).
    order 1: r_i = <c b, w> / <c b, c b> over the row, c_j = <r b, w> / <r b, r b> over the column; b stays.
    order 2: r and c as in order 1 from w - r' c' b', then r' and c' from w - r c b, then b and b' as in arb, order 2,
    among the levels -rc - r'c', -rc + r'c', rc - r'c', rc + r'c'.

arb.safetensors, matrices: W f32 [20, 84], x f32 [4, 24, 84], mask i8 [20, 84] (row 3 and column 7 empty, row 4 with
one weight). <method>/<order>/<all or part>/... with method arb, arb_x, arb_rc, order 1 or 2, all weights or `mask`:
  mean f64 [20], scale f64 [order, 20] | row_scale f64 [order, 20], column_scale f64 [order, 84]
  sign     i8 [order, 20, 84]: +-1; 0 outside the mask and where it does not matter (scale 0 but for rounding)
  weight   f64 [20, 84]: W^, 0 outside the mask
  errors   f64 [16]: before the first and after each iteration (arb_x: of the weights, in its first part)
  x_errors f64 [16]: arb_x only, the same of its second part
r and c are determined up to a factor; first values and order of updates fix it.

arb_layers.safetensors, layers: <case>s of metadata `cases`, W and x as above, "dead" with dead/x (columns 5 and 17 are
0), "wide" with wide/W f32 [20, 160], wide/x f32 [4, 48, 160]. Blocks compensate as in BiLLM. Groups of a block are
chosen by T (binarization_reference.saliency_matrix, or W for metric magnitude), W is refined in each by the method:
  salient columns: as BiLLM's, by sum over rows of |T|, both sides of second order (not refined), error of T.
  cgb (column-group bitmap, section 3.4): salient weights are split by magnitude: thresholds are the percentiles 10 to
    90 of those |T| of salient columns that are not 0; error of T - large - small, both of second order, not refined.
  the others are split likewise: percentiles of |T| of the block with salient columns as zeros; error of
    T - salient - large - small: salient is T refined (order 2, all salient columns together, by arb_rc for arb_rc, else
    by arb), the others of first order, not refined. arb_x measures tr(D S D^T) there, D that difference.
  group    i8 [20, in]: cgb: 0 salient large, 1 salient small, 2 large, 3 small; without cgb 0 salient, 2 large, 3 small
  threshold f64 [blocks, 2]: of salient ones (0 without cgb) and others; the first of those that give the same groups
  mean f64 [blocks, 4, 20], scale f64 [blocks, 4, 2, 20] | row_scale f64 [blocks, 4, 2, 20], column_scale f64 [4, 2, in]
  sign     i8 [2, 20, in], as above
  weight   f64 [20, in]; error f64 [2]: |W - W^|^2 / |W|^2, |(W - W^) X|^2 / |W X|^2
"""
import dataclasses

import numpy as np

import binarization_reference as binary
import ptq_reference as ptq

SCRIPT = "make_arb.py"
COLUMNS, ITERATIONS, SALIENT = 84, 15, (1, 3, 4, 8, 10, 11)  # blocks of 32, 32 and 20
CASES = {
    "arb": {"method": "arb", "cgb": True, "block": 32},
    "arb_x": {"method": "arb_x", "cgb": True, "block": 32},
    "arb_rc": {"method": "arb_rc", "cgb": True, "block": 32},
    "no_cgb": {"method": "arb_rc", "cgb": False, "block": 32},
    "no_cgb_plain": {"method": "arb", "cgb": False, "block": 32},
    "no_cgb_x": {"method": "arb_x", "cgb": False, "block": 32},
    "no_cgb_dead": {"method": "arb_rc", "cgb": False, "block": 32},
    "no_cgb_dead_x": {"method": "arb_x", "cgb": False, "block": 32},
    "no_cgb_wide": {"method": "arb_rc", "cgb": False, "block": 128},
    "no_cgb_wide_x": {"method": "arb_x", "cgb": False, "block": 128},
    "magnitude": {"method": "arb_rc", "cgb": True, "block": 32, "metric": "magnitude"},
    "dead": {"method": "arb_rc", "cgb": True, "block": 32},
    "dead_x": {"method": "arb_x", "cgb": True, "block": 32},
    "wide": {"method": "arb_rc", "cgb": True, "block": 128},
    "wide_x": {"method": "arb_x", "cgb": True, "block": 128},
}


@dataclasses.dataclass
class Terms:
    """W^ on a mask: mean + sum over orders of scale * sign, or of row_scale * column_scale * sign."""
    mask: np.ndarray
    mean: np.ndarray
    scale: np.ndarray  # [order, rows]: row scales where there are column scales
    sign: np.ndarray
    column_scale: np.ndarray | None = None
    errors: list = dataclasses.field(default_factory=list)
    x_errors: list = dataclasses.field(default_factory=list)

    def scales(self):
        """[order, rows, columns or 1]"""
        columns = 1 if self.column_scale is None else self.column_scale[:, None, :]
        return self.scale[:, :, None] * columns

    def weight(self):
        return (self.mean[:, None] + (self.scales() * self.sign).sum(0)) * self.mask

    def stored_sign(self, w):
        return (self.sign * self.mask * (np.abs(self.scales()) > 1e-12 * np.abs(w).mean())).astype(np.int8)


def weight_error(w, terms):
    return float(np.sum(((w - terms.weight()) * terms.mask) ** 2) / np.sum((w * terms.mask) ** 2))


def quadratic(d, s):
    return float(np.sum((d @ s) * d))


def nearest_signs(w, terms, margin):
    """sign [2, rows, columns] of the nearest of the four levels."""
    scales = np.broadcast_to(terms.scales(), (2, *w.shape))
    pairs = np.array([(-1, -1), (-1, 1), (1, -1), (1, 1)], float)
    left = w - terms.mean[:, None]
    levels = np.einsum("kp,pij->kij", pairs, scales)
    distances = np.abs(left - levels)
    chosen = distances.argmin(0)
    level = np.take_along_axis(levels, chosen[None], 0)
    unit = np.abs(w).mean()
    gap = distances - distances.min(0)
    margin.near(gap[terms.mask & (np.abs(levels - level) > 1e-12 * unit)], unit)
    return np.moveaxis(pairs[chosen], -1, 0)


def arb(w, mask, order, margin, iterations=ITERATIONS):
    means, scales, signs = binary.residual_terms(w, mask, order)
    terms = Terms(mask, means.sum(0), scales, signs)
    count = mask.sum(1).astype(float)
    terms.errors.append(weight_error(w, terms))

    def others(o):
        return sum(terms.scale[p][:, None] * terms.sign[p] for p in range(order) if p != o)

    for _ in range(iterations):
        terms.mean = binary.row_mean(w - (terms.scales() * terms.sign).sum(0), mask)
        left = w - terms.mean[:, None]
        for o in range(order):
            terms.scale[o] = binary.divide((terms.sign[o] * (left - others(o)) * mask).sum(1), count)
        if order == 1:
            margin.near(left[mask & binary.decided(terms.scale[0], w)], np.abs(w).mean())
            terms.sign = binary.sign(left)[None]
        else:
            terms.sign = nearest_signs(w, terms, margin)
        terms.errors.append(weight_error(w, terms))
    return terms


def arb_x(w, mask, order, s, margin):
    terms = arb(w, mask, order, margin)
    w, signs, ones = w * mask, terms.sign * mask, mask.astype(float)
    unit = quadratic(w, s)

    def fit(direction, target):
        """The multiple of each row of `direction` that is nearest to that of `target` under S."""
        image = direction @ s
        return binary.divide((image * target).sum(1), (image * direction).sum(1))

    def error():
        return binary.divide(quadratic(w - terms.weight(), s), np.float64(unit)).item()

    terms.x_errors.append(error())
    for _ in range(ITERATIONS):
        parts = terms.scale[:, :, None] * signs
        terms.mean = fit(ones, w - parts.sum(0))
        for o in range(order):
            parts = terms.scale[:, :, None] * signs
            terms.scale[o] = fit(signs[o], w - terms.mean[:, None] * ones - (parts.sum(0) - parts[o]))
        terms.x_errors.append(error())
    return terms


def arb_rc(w, mask, order, margin):
    w = w * mask
    rows, columns, signs, left = [], [], [], w
    for _ in range(order):
        rows.append(binary.row_mean(np.abs(left), mask))
        known = mask & (rows[-1] > 0)[:, None]
        relative = binary.divide(np.abs(left), np.broadcast_to(rows[-1][:, None], w.shape))
        columns.append(binary.row_mean(relative.T, known.T))
        signs.append(binary.sign(left))
        margin.near(left[known & (np.abs(left) > 1e-12 * np.abs(w).mean())], np.abs(w).mean())
        left = left - np.outer(rows[-1], columns[-1]) * signs[-1] * mask
    terms = Terms(mask, np.zeros(len(w)), np.array(rows), np.array(signs), np.array(columns))
    terms.errors.append(weight_error(w, terms))
    for _ in range(ITERATIONS):
        for o in range(order):
            target = w - sum(terms.scales()[p] * terms.sign[p] for p in range(order) if p != o)
            part = terms.column_scale[o] * terms.sign[o] * mask
            terms.scale[o] = binary.divide((part * target).sum(1), (part**2).sum(1))
            part = terms.scale[o][:, None] * terms.sign[o] * mask
            terms.column_scale[o] = binary.divide((part * target).sum(0), (part**2).sum(0))
        if order == 2:
            terms.sign = nearest_signs(w, terms, margin)
        terms.errors.append(weight_error(w, terms))
    return terms


def refine(method, w, mask, order, s, margin):
    if method == "arb_rc":
        return arb_rc(w, mask, order, margin)
    return arb_x(w, mask, order, s, margin) if method == "arb_x" else arb(w, mask, order, margin)


def choose(w, u, s, method, metric, cgb, margin):
    """Masks of the four groups and the two thresholds of a block."""
    t = binary.saliency_matrix(w, u) if metric == "hessian" else w
    columns = binary.salient_columns(t, np.abs(t).sum(0), margin, order=2)
    salient = np.broadcast_to(columns, t.shape)
    masks, thresholds = [salient, np.zeros_like(salient)], [0.0]
    if cgb:
        def salient_error(large, small):
            return np.mean((t - binary.residual(t, large, 2) - binary.residual(t, small, 2)) ** 2)

        values = np.abs(t[salient])
        thresholds[0], *masks = binary.split(t, salient, binary.percentiles(values[values != 0]), salient_error, margin)

    rough = binary.Margin()  # signs inside the refinement of T that only its error depends on
    fixed = refine("arb_rc" if method == "arb_rc" else "arb", t, salient, 2, None, rough).weight()

    def error(large, small):
        d = t - fixed - binary.residual(t, large, 1) - binary.residual(t, small, 1)
        return quadratic(d, s) if method == "arb_x" else np.mean(d**2)

    threshold, *others = binary.split(t, ~salient, binary.percentiles(np.abs(t * ~salient)), error, margin)
    return masks + others, thresholds + [threshold]


def layer(w, x, method, cgb, block, metric="hessian", percdamp=0.01):
    margin = binary.Margin()

    def quantize(w, u, s):
        masks, thresholds = choose(w, u, s, method, metric, cgb, margin)
        means, scales = np.zeros((4, len(w))), np.zeros((4, 2, len(w)))
        column_scales, signs = np.zeros((4, 2, w.shape[1])), np.zeros((2, *w.shape), np.int8)
        group, weight = np.zeros(w.shape, np.int8), np.zeros(w.shape)
        for g, mask in enumerate(masks):
            if not mask.any():
                continue
            order = 2 if g < 2 else 1
            terms = refine(method, w, mask, order, s, margin)
            means[g], scales[g, :order] = terms.mean, terms.scale
            if terms.column_scale is not None:
                column_scales[g, :order] = terms.column_scale
            signs[:order] += terms.stored_sign(w)
            group[mask] = g
            weight += terms.weight()
        return weight, (group, thresholds, means, scales, column_scales, signs)

    weight, facts = binary.by_blocks(w, x, block, percdamp, quantize)
    group, threshold, means, scales, column_scales, signs = zip(*facts)
    found = {"group": np.concatenate(group, 1), "threshold": np.array(threshold), "sign": np.concatenate(signs, 2),
             "weight": weight, "error": np.array([ptq.weight_error(w, weight), ptq.output_error(w, weight, x)])}
    if method == "arb_rc":
        found |= {"row_scale": np.array(scales), "column_scale": np.concatenate(column_scales, 2)}
    else:
        found |= {"mean": np.array(means), "scale": np.array(scales)}
    return found, margin.value


def rebuilt(found, block):
    """W^ from what is stored."""
    rows, columns = np.arange(len(found["group"]))[:, None], np.arange(found["group"].shape[1])
    b, g = columns // block, found["group"]
    if "row_scale" in found:
        return sum(found["row_scale"][b, g, o, rows] * found["column_scale"][g, o, columns] * found["sign"][o]
                   for o in range(2))
    return found["mean"][b, g, rows] + sum(found["scale"][b, g, o, rows] * found["sign"][o] for o in range(2))


def matrices(w, x, mask):
    tensors, facts = {"W": w, "x": x, "mask": mask.astype(np.int8)}, {}
    w, s = w.astype(np.float64), ptq.hessian(x)
    for method in ("arb", "arb_x", "arb_rc"):
        for order in (1, 2):
            for name, part in (("all", np.ones_like(mask)), ("part", mask)):
                margin, case = binary.Margin(), f"{method}/{order}/{name}"
                terms = refine(method, w, part, order, s, margin)
                values = {"sign": terms.stored_sign(w), "weight": terms.weight(), "errors": np.array(terms.errors)}
                if method == "arb_rc":
                    values |= {"row_scale": terms.scale, "column_scale": terms.column_scale}
                else:
                    values |= {"mean": terms.mean, "scale": terms.scale}
                if method == "arb_x":
                    values["x_errors"] = np.array(terms.x_errors)
                tensors |= {f"{case}/{key}": value for key, value in values.items()}
                facts[case] = {"margin": margin.value}
                last = terms.x_errors or terms.errors
                print(f"{case}: error {last[0]:.4e} to {last[-1]:.4e}, margin {margin.value:.1e}")
                for errors in (terms.errors, terms.x_errors):
                    assert (np.diff(errors) < 1e-15).all(), case  # each step is the best of its kind
                assert margin.value > 1e-9, case
    return tensors, facts


def draw(rng, columns, tokens=24):
    """W and x with six of sixteen columns salient: three or fewer are split into parts that are exact, and tie."""
    w = ptq.draw_weights(rng, columns=columns, group=columns)
    w[:, np.isin(np.arange(columns) % 16, SALIENT)] *= 4
    return w, ptq.draw_inputs(rng, tokens=tokens, columns=columns, spread=0.1, outliers=0)


def main():
    rng = np.random.default_rng(811)
    w, x = draw(rng, COLUMNS)
    mask = rng.random(w.shape) < 0.6
    mask[3], mask[:, 7] = False, False
    mask[4] = np.arange(COLUMNS) == 11
    tensors, facts = matrices(w, x, mask)
    ptq.save("arb", SCRIPT, tensors, cases=facts)

    wide_w, wide_x = draw(rng, 160, tokens=48)
    dead = x.copy()
    dead[..., [5, 17]] = 0
    tensors, facts = {"W": w, "x": x, "dead/x": dead, "wide/W": wide_w, "wide/x": wide_x}, {}
    for case, settings in CASES.items():
        kind = case.removeprefix("no_cgb_").removesuffix("_x")
        inputs = {"dead": (w, dead), "wide": (wide_w, wide_x)}.get(kind, (w, x))
        found, margin = layer(*inputs, **settings)
        assert np.allclose(rebuilt(found, settings["block"]), found["weight"], atol=1e-11)
        tensors |= {f"{case}/{key}": value for key, value in found.items()}
        facts[case] = {"metric": "hessian"} | settings | {"margin": margin}
        print(f"{case}: errors {found['error']}, groups {np.bincount(found['group'].ravel())}, margin {margin:.1e}")
        assert margin > 1e-9, case
    ptq.save("arb_layers", SCRIPT, tensors, cases=facts)


if __name__ == "__main__":
    main()

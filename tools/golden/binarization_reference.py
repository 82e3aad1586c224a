"""What the references of BiLLM and ARB-LLM share: residual binarisation, the choice of groups, blocks.

A module for make_billm.py and make_arb.py; needs numpy. Written from BiLLM (arXiv 2402.04291, Algorithms 1
and 2) and ARB-LLM (arXiv 2410.03129, sections 3.1 to 3.4). Where these are silent, or where published results
come from something else than what they say, the official programs decide, as "github" below:
Aaronhuang-778/BiLLM (bigptq.py, binary.py, utils/) and ZHITENGLI/ARB-LLM (bigptq_arb.py, binary_arb.py, utils/).

Binarisation of the weights of a mask [rows, columns], row by row, of first or second order o = 1, 2:
    W^ = sum over o of mean_o + scale_o * sign_o             on the mask; sign(0) = +1
    mean_o = mean of what is left in the row, scale_o = mean |left - mean_o|, sign_o = sign(left - mean_o),
    left = W - the terms before. A row without weights in the mask has mean = scale = 0.
Means are github's; BiLLM's paper has none (mean_o = 0).
"""
import numpy as np

import ptq_reference as ptq

LIMIT = 50  # of salient columns a block: one less (github)


def sign(values):
    return np.where(values < 0, -1.0, 1.0)


def divide(numerator, denominator):
    """0 where the denominator is 0 (github adds 1e-8 or 1e-10 to it)."""
    return np.divide(numerator, denominator, out=np.zeros(np.shape(denominator)), where=denominator != 0)


def row_mean(values, mask):
    return divide((values * mask).sum(1), mask.sum(1).astype(float))


def residual_terms(w, mask, order, mean=True):
    """means, scales [order, rows], signs [order, rows, columns]."""
    means, scales, signs = [], [], []
    left = w * mask
    for _ in range(order):
        means.append(row_mean(left, mask) if mean else np.zeros(len(w)))
        centred = left - means[-1][:, None]
        scales.append(row_mean(np.abs(centred), mask))
        signs.append(sign(centred))
        left = left - means[-1][:, None] - scales[-1][:, None] * signs[-1]
    return np.array(means), np.array(scales), np.array(signs)


def residual(w, mask, order, mean=True):
    """W^, 0 outside the mask."""
    means, scales, signs = residual_terms(w, mask, order, mean)
    return (means[:, :, None] + scales[:, :, None] * signs).sum(0) * mask


def decided(scale, w):
    """Where a sign matters: a row of one or two weights in a mask is exact after its first order, so that what
    is left, and its sign, is rounding. Stored signs are 0 elsewhere. scale [..., rows] -> [..., rows, 1]."""
    return (np.abs(scale) > 1e-12 * np.abs(w).mean())[..., None]


class Margin:
    """The smallest of all relative distances at which something would be decided otherwise."""

    def __init__(self):
        self.value = np.inf

    def near(self, distances, unit):
        distances = np.abs(distances)
        self.value = min(self.value, float(distances.min(initial=np.inf) / unit))


def best(candidates, margin):
    """The first candidate (error, key, result) of least error; candidates of equal key are the same."""
    chosen = None
    errors = {}
    for candidate in candidates:
        errors.setdefault(candidate[1], candidate[0])
        if chosen is None or candidate[0] < chosen[0]:
            chosen = candidate
    others = np.array([error for key, error in errors.items() if key != chosen[1]])
    margin.near(others - chosen[0], max(chosen[0], 1e-300))
    return chosen[2]


def salient_columns(t, saliency, margin, order, mean=True):
    """[columns] mask: the n columns of largest saliency (falling; equal ones in their own order) for which
    binarising them and the others apart, both with `order`, leaves the least squared error of t. n is 1 to
    min(50, columns) - 1; a block of one column has no salient one."""
    ranking = np.argsort(-saliency, kind="stable")
    used = saliency[ranking[:min(LIMIT, len(saliency))]]
    margin.near(np.diff(used)[np.diff(used) != 0], max(used[0], 1e-300))

    def candidates():
        for n in range(1, min(LIMIT, t.shape[1])):
            chosen = np.zeros(t.shape[1], bool)
            chosen[ranking[:n]] = True
            mask = np.broadcast_to(chosen, t.shape)
            error = np.mean((t - residual(t, mask, order, mean) - residual(t, ~mask, order, mean)) ** 2)
            yield error, n, chosen

    return best(candidates(), margin) if t.shape[1] > 1 else np.zeros(1, bool)


def percentiles(values):
    """The 81 quantiles 0.10, 0.11, ... 0.90: between order statistics linearly, at q (n - 1), which with 20 rows
    is never whole, so that no threshold is a value of its own."""
    return np.quantile(np.ravel(values), np.linspace(0.1, 0.9, 81))


def split(t, part, thresholds, error_of, margin):
    """threshold, large [mask], small [mask]: `part` of t at the first threshold of least error_of(large, small);
    large has |t| >= threshold. Thresholds that give the same masks are the same candidate."""
    def candidates():
        for threshold in thresholds:
            large = part & (np.abs(t) >= threshold)
            yield error_of(large, part & ~large), large.tobytes(), (threshold, large, part & ~large)

    return best(candidates(), margin)


def saliency_matrix(w, u):
    """s_ij = w_ij^2 / U_jj^2, U of ptq_reference.inverse_factor (BiLLM section 3.1, Algorithm 2)."""
    return w**2 / np.diag(u) ** 2


def by_blocks(w, x, block, percdamp, quantize):
    """BiLLM Algorithm 1: columns in their own order, block by block; quantize(W_b, U_bb, S_bb) gives W^_b and
    facts. E = (W_b - W^_b) / diag(U_bb), then W_later -= E U_b,later. Columns of one block do not compensate for
    each other. S = H before dead columns are treated and before damping. Returns W^ and the facts of all blocks."""
    s = ptq.hessian(x)
    w, h = ptq.without_dead(w.astype(np.float64), s)
    u = ptq.inverse_factor(h, percdamp)
    facts = []
    for part in ptq.groups(w.shape[1], block):
        approximation, fact = quantize(w[:, part], u[part, part], s[part, part])
        errors = (w[:, part] - approximation) / np.diag(u)[part]
        w[:, part.stop:] -= errors @ u[part, part.stop:]
        w[:, part] = approximation
        facts.append(fact)
    return w, facts

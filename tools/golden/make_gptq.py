#!/usr/bin/env python3
"""Writes tests/golden/rivals/{gptq,gptq_wide,gptq_pipeline}.safetensors: GPTQ of linear layers.

Needs numpy 2, scipy and safetensors. Re-run from the project's root: tools/golden/make_gptq.py
GPTQ: arXiv 2210.17323, Algorithm 1; where the paper is silent, gptq.py of github.com/IST-DASLab/gptq decides.
Conventions, grids and the Hessian: tools/golden/ptq_reference.py.

1. H = 2/n sum x x^T (n sequences). Dead columns (H_jj = 0): H_jj = 1, and their weights 0, before anything
   else (gptq.py takes grids of whole rows before that).
2. Grids. group 0: one grid a row, from W. static: one grid for each group of the original columns, from W.
   Else a group is `group` consecutive places in the order of quantisation, and its grid is taken when its
   first place is reached, from the weights of its places as they stand then *outside* the current block: with
   the compensations of all earlier blocks, without those of earlier places of its own block (gptq.py reads W
   there, not W1). So with such groups results depend on the block size.
3. act_order: columns in order of falling H_jj (before damping, dead ones have 1), equal ones in their own
   order; W and H are permuted.
4. Damping: H_jj += percdamp * mean(diag H). U upper triangular with U^T U = H^-1.
5. For each block of `block` places, for each place i of it: q = grid(w_i), e = (w_i - q) / U_ii,
   w_k -= e U_ik for the later places k of the block; after the block the same for all places after it.
6. Codes return to the original order of columns.

<case> stands for the names in metadata `cases`, which has settings, number of tokens and margin of each.
W, x, H             f32 [out, in], f32 [sequences, tokens, in], f64 [in, in] (gptq only): [20, 36], [4, 24, 36]. The
                    <case>s of "dead" read dead/x and dead/H, where columns 5 and 17 are 0 in every token. H is step
                    1's before dead columns are treated.
<case>/codes        i32 [out, in], in the original order
<case>/scale, zero  f64 [out, groups]: W^_ij = scale[i, g] * (codes[i, j] - zero[i, g]), g = group_of[j]
<case>/group_of     i32 [in]
<case>/order        i32 [in]: the column quantised at each place
<case>/loss         f64 [1]: sum of e^2 / 2. Equals tr(D (H + damping) D^T) / 2, D = W - W^ with dead W 0.
<case>/error        f64 [2]: |(W - W^) X|^2 / |W X|^2 of GPTQ; of rounding to nearest with the same bits and group
<case>/f32          f64 [2]: the same algorithm, Hessian included, in f32: codes that differ from f64's, error

gptq_wide: W [12, 576], x [3, 32, 576], tokens fewer than columns; blocks and groups of 128, so the last ones have 64.
gptq_pipeline: two layers, y = W2 silu(W1 x), 3 bits in groups of 16, act_order, static. first: W1 from x.
sequential: W2 from silu(W1^ x), the inputs that quantised layers give: what a model is quantised with.
parallel: W2 from silu(W1 x), as within one block of gptq.py's llama.py without --true-sequential.
<case>/output_error: f64 [1], |y - y^|^2 / |y|^2 of both layers together, on x.
A test of a whole pipeline needs this order: embeddings of all sequences; for each decoder block the sets
[k, v, q], [o], [up, gate], [down], each calibrated with block inputs from quantised blocks and, true-sequential,
with the block's earlier sets already quantised; then the block's outputs, recomputed, are the next one's inputs.
"""
import numpy as np
import scipy.special

import ptq_reference as ptq

SCRIPT = "make_gptq.py"
DEAD = [5, 17]


def gptq(w, x, bits, symmetric=False, group=0, block=128, percdamp=0.01, act_order=False, static=False,
         dtype=np.float64):
    columns = w.shape[1]
    w, h = ptq.without_dead(w.astype(dtype), ptq.hessian(x, dtype))
    diagonal = np.diag(h)
    order = np.argsort(-diagonal, kind="stable") if act_order else np.arange(columns)
    parts = ptq.groups(columns, group)
    margin = ptq.gaps(diagonal) / diagonal.max() if act_order else np.inf
    scale, zero = np.zeros((len(w), len(parts)), dtype), np.zeros((len(w), len(parts)), dtype)

    def take_grid(g, values):
        nonlocal margin
        scale[:, g], zero[:, g] = ptq.uniform_grid(values, bits, symmetric)
        margin = min(margin, ptq.grid_margin(values, bits, symmetric))

    fixed = static or not group
    place = np.arange(columns)
    group_of = np.empty(columns, np.int32)
    group_of[order] = (order if static else place) // (group or columns)
    if fixed:
        for g, part in enumerate(parts):
            take_grid(g, w[:, part])

    w, u = w[:, order], ptq.inverse_factor(h[np.ix_(order, order)], percdamp)
    codes = np.zeros(w.shape, np.int32)
    loss = 0.0
    for begin in range(0, columns, block):
        end = min(begin + block, columns)
        current, errors = w[:, begin:end].copy(), np.zeros((len(w), end - begin), dtype)
        for i in range(begin, end):
            g = group_of[order[i]]
            if not fixed and i % group == 0:
                take_grid(g, w[:, i:i + group])
            value = current[:, i - begin]
            code = ptq.encode(value[:, None], scale[:, g], zero[:, g], bits)
            margin = min(margin, ptq.code_margin(value[:, None], scale[:, g], zero[:, g], bits))
            codes[:, i] = code[:, 0]
            error = (value - ptq.decode(code, scale[:, g], zero[:, g])[:, 0]) / u[i, i]
            current[:, i - begin + 1:] -= np.outer(error, u[i, i + 1:end])
            errors[:, i - begin] = error
        w[:, end:] -= errors @ u[begin:end, end:]
        loss += float((errors.astype(np.float64)**2).sum()) / 2
    result = np.empty_like(codes)
    result[:, order] = codes
    return {"codes": result, "scale": scale, "zero": zero, "group_of": group_of,
            "order": order.astype(np.int32), "loss": np.array([loss])}, margin


def weight_of(found):
    g = found["group_of"]
    return found["scale"][:, g].astype(np.float64) * (found["codes"] - found["zero"][:, g].astype(np.float64))


def nearest(w, bits, symmetric, group):
    """Rounding to nearest: the same grids from W itself."""
    result = np.empty(w.shape)
    for part in ptq.groups(w.shape[1], group):
        scale, zero = ptq.uniform_grid(w[:, part], bits, symmetric)
        result[:, part] = ptq.decode(ptq.encode(w[:, part], scale, zero, bits), scale, zero)
    return result


def eager(w, x, found, bits, percdamp=0.01):
    """Codes by the paper's section 3.1 as it stands: the whole inverse, one column eliminated after the other,
    every weight compensated at once. Independent of U and of blocks; for grids that are fixed."""
    w, h = ptq.without_dead(w.astype(np.float64), ptq.hessian(x))
    inverse = np.linalg.inv(h + percdamp * np.diag(h).mean() * np.eye(len(h)))
    codes = np.zeros(w.shape, np.int32)
    for i, column in enumerate(found["order"]):
        g = found["group_of"][column]
        codes[:, column] = ptq.encode(w[:, [column]], found["scale"][:, g], found["zero"][:, g], bits)[:, 0]
        value = found["scale"][:, g] * (codes[:, column] - found["zero"][:, g])
        later = found["order"][i + 1:]
        w[:, later] -= np.outer(w[:, column] - value, inverse[column, later] / inverse[column, column])
        inverse -= np.outer(inverse[:, column], inverse[column]) / inverse[column, column]
    return codes


def check(w, x, found, bits, symmetric=False, group=0, percdamp=0.01, static=False, **_):
    damped, h = ptq.without_dead(w.astype(np.float64), ptq.hessian(x))
    h += percdamp * np.diag(h).mean() * np.eye(len(h))
    difference = damped - weight_of(found)
    assert np.isclose(np.sum((difference @ h) * difference) / 2, found["loss"][0], rtol=1e-9)
    if static or not group:
        assert np.array_equal(eager(w, x, found, bits, percdamp), found["codes"])


def run(w, x, settings):
    """Tensors and facts of one case."""
    found, margin = gptq(w, x, **settings)
    check(w, x, found, **settings)
    weight = weight_of(found)
    single, _ = gptq(w, x, dtype=np.float32, **settings)
    grid = [settings["bits"], settings.get("symmetric", False), settings.get("group", 0)]
    rounded = nearest(ptq.without_dead(w.astype(np.float64), ptq.hessian(x))[0], *grid)
    found["error"] = np.array([ptq.output_error(w, weight, x), ptq.output_error(w, rounded, x)])
    differing = int((single["codes"] != found["codes"]).sum())
    found["f32"] = np.array([differing, ptq.output_error(w, weight_of(single), x)])
    return found, settings | {"tokens": int(np.prod(x.shape[:2])), "margin": float(margin)}


def small_cases():
    cases = {}
    for bits in (2, 3, 4, 8):
        cases |= {f"{bits}/row": {"bits": bits, "block": 16}, f"{bits}/group": {"bits": bits, "group": 16, "block": 16},
                  f"{bits}/order": {"bits": bits, "group": 16, "act_order": True},
                  f"{bits}/static": {"bits": bits, "group": 16, "act_order": True, "static": True},
                  f"{bits}/symmetric": {"bits": bits, "group": 16, "block": 16, "symmetric": True}}
    cases |= {
        "row_order": {"bits": 3, "act_order": True},
        "static_in_order": {"bits": 3, "group": 16, "static": True},
        "symmetric_order": {"bits": 3, "group": 16, "static": True, "act_order": True, "symmetric": True},
        "blocks_of_10": {"bits": 3, "group": 16, "block": 10},          # groups begin inside blocks
        "groups_in_block": {"bits": 3, "group": 8, "block": 128},       # and lie inside one
        "group_over_blocks": {"bits": 3, "group": 24, "block": 16},
        "percdamp": {"bits": 3, "percdamp": 0.1},
        "1/asymmetric": {"bits": 1, "group": 16, "act_order": True, "static": True},
        "1/symmetric": {"bits": 1, "group": 16, "act_order": True, "static": True, "symmetric": True},
        "dead/group": {"bits": 3, "group": 16, "block": 16},
        "dead/order": {"bits": 3, "group": 16, "act_order": True},
    }
    return cases


WIDE = {
    "static": {"bits": 4, "group": 128, "act_order": True, "static": True},
    "group": {"bits": 2, "group": 128},
    "symmetric": {"bits": 3, "group": 128, "act_order": True, "static": True, "symmetric": True},
    "damped_little": {"bits": 4, "group": 128, "percdamp": 1e-4},  # ill-conditioned: f32 goes astray
}


def attempt(seed, rows, columns, group, sequences, tokens, cases):
    """Inputs and results of all cases; None where a decision is too close."""
    rng = np.random.default_rng(seed)
    w, x = ptq.draw_weights(rng, rows, columns, group), ptq.draw_inputs(rng, sequences, tokens, columns)
    dead = x.copy()
    dead[..., [c for c in DEAD if c < columns]] = 0
    tensors, facts = {"W": w, "x": x}, {}
    if any(case.startswith("dead") for case in cases):
        tensors |= {"dead/x": dead, "dead/H": ptq.hessian(dead)}
    for case, settings in cases.items():
        found, facts[case] = run(w, dead if case.startswith("dead") else x, settings)
        tensors |= {f"{case}/{key}": value for key, value in found.items()}
        if facts[case]["margin"] < 1e-7:
            return None
    return tensors, facts


def first(begin, *arguments):
    seed, result = begin, None
    while result is None:
        result = attempt(seed, *arguments)
        seed += 1
    tensors, facts = result
    for case, fact in facts.items():
        error, single = tensors[f"{case}/error"], tensors[f"{case}/f32"]
        print(f"{case}: error {error[0]:.3e}, nearest {error[1]:.3e}, margin {fact['margin']:.1e}, "
              f"f32: {single[0]:.0f} codes differ, error {single[1]:.3e}")
    return tensors, facts, seed - 1


def pipeline(seed):
    rng = np.random.default_rng(seed)
    w1, w2 = ptq.draw_weights(rng, 28, 36), ptq.draw_weights(rng, 12, 28)
    w2 *= 10
    x = ptq.draw_inputs(rng)
    settings = {"bits": 3, "group": 16, "act_order": True, "static": True}

    def hidden(w):
        a = x.astype(np.float64) @ w.T
        return a * scipy.special.expit(a)

    tensors, facts = {"W1": w1, "W2": w2, "x": x}, {}
    found, margin = gptq(w1, x, **settings)
    quantised = weight_of(found)
    results = {"first": (found, margin), "sequential": gptq(w2, hidden(quantised), **settings),
               "parallel": gptq(w2, hidden(w1.astype(np.float64)), **settings)}
    y = hidden(w1.astype(np.float64)) @ w2.T
    for case, (found, margin) in results.items():
        if case != "first":
            output = hidden(quantised) @ weight_of(found).T
            found["output_error"] = np.array([np.sum((y - output)**2) / np.sum(y**2)])
            print(f"{case}: output error {found['output_error'][0]:.3e}, margin {margin:.1e}")
        tensors |= {f"{case}/{key}": value for key, value in found.items()}
        facts[case] = settings | {"margin": float(margin)}
        assert margin > 1e-7, case
    return tensors, facts


def main():
    tensors, facts, seed = first(300, ptq.ROWS, ptq.COLUMNS, ptq.GROUP, 4, 24, small_cases())
    tensors["H"] = ptq.hessian(tensors["x"])
    ptq.save("gptq", SCRIPT, tensors, cases=facts, seed=seed)
    tensors, facts, seed = first(400, 12, 576, 128, 3, 32, WIDE)
    ptq.save("gptq_wide", SCRIPT, tensors, cases=facts, seed=seed)
    tensors, facts = pipeline(500)
    ptq.save("gptq_pipeline", SCRIPT, tensors, cases=facts)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Writes tests/golden/rivals/lowrank.safetensors: linear layers of low rank, plain and activation-aware.

Needs numpy 2, scipy and safetensors. Re-run from the project's root: tools/golden/make_lowrank.py
Activation-aware: SVD-LLM, arXiv 2403.07378, section 3.1; its factors and its rank from a ratio are those of
SVDLLM.py in github.com/AIoT-MLSys-Lab/SVD-LLM. Conventions: tools/golden/ptq_reference.py.

plain: W = U S V^T, W_r = U_r S_r V_r^T. |W - W_r|^2 is the sum of the other s_i^2 (Eckart-Young).
aware: G = sum over all tokens of x x^T, G += damping * mean(diag G) I, G = L L^T (L lower triangular),
       W L = U S V^T, W_r = U_r S_r V_r^T L^-1. Without damping |(W - W_r) X|^2 is the sum of the other s_i^2.
       SVDLLM.py damps only where the Cholesky factorisation fails, then by 1e-6 - (smallest eigenvalue); here
       damping is relative and a setting: 0 where x has full rank, else 0.01.
factors: A = U_r sqrt(S_r) [out, r], B = sqrt(S_r) V_r^T (L^-1) [r, in], unique but for one sign a component;
       so files hold products only.

W [20, 36], x [4, 24, 36]            f32; G is well-conditioned
dead/x [4, 24, 36], few/x [1, 24, 36] f32; columns 5 and 17 always 0; fewer tokens than columns
<case>/singular      f64 [20]: all s_i, falling
<case>/weight_<r>    f64 [20, 36]: W_r for r = 1, 5, 12
<case>/errors     f64 [20, 2]: for r = 1 to 20 |W - W_r|^2 / |W|^2 and |(W - W_r) X|^2 / |W X|^2
<case>/f16_<r>       f64 [20, 36]: the product of A and B, each rounded to f16 (r = 5). Rounding commutes with signs
Cases plain, aware, aware_dead, aware_few; metadata `cases` has their settings. The largest rank, 20, is that
of W itself. plain's errors are on x.

ranks                i32 [n, 4]: out, in, bytes, rank: the largest rank whose two f16 factors take at most that
                     many bytes, rank = min(floor(bytes / (2 (out + in))), out, in). Rank 0 means that not one
                     component fits. The bytes listed are those of a 1-bit layer with f16 g and h
                     (out * in / 8 rounded up + 2 (out + in)), of 2, 3 and 4-bit layers with an f16 scale for
                     every row and group of 128 (out (in bits / 8 + 2 in / 128), each term rounded up) and of
                     SVD-LLM's ratio 0.2 (2 * floor(0.2 out in)).
"""
import math

import numpy as np
import scipy.linalg

import ptq_reference as ptq

SCRIPT = "make_lowrank.py"
STORED, ROUNDED = (1, 5, 12), (5,)


def second_moment(x, damping):
    x = x.reshape(-1, x.shape[-1]).astype(np.float64)
    g = x.T @ x
    return g + damping * np.diag(g).mean() * np.eye(len(g))


def decompose(w, x=None, damping=0.0):
    """U, s and right factor R with W = U diag(s) R."""
    if x is None:
        return np.linalg.svd(w, full_matrices=False)
    lower = np.linalg.cholesky(second_moment(x, damping))
    u, s, v = np.linalg.svd(w @ lower, full_matrices=False)
    return u, s, scipy.linalg.solve_triangular(lower, v.T, lower=True, trans="T").T


def f16(values):
    return values.astype(np.float16).astype(np.float64)


def results(w, x, parts):
    u, s, right = parts
    tensors, errors = {"singular": s}, []
    for r in range(1, len(s) + 1):
        weight = u[:, :r] * s[:r] @ right[:r]
        errors.append([ptq.weight_error(w, weight), ptq.output_error(w, weight, x)])
        if r in STORED:
            tensors[f"weight_{r}"] = weight
        if r in ROUNDED:
            tensors[f"f16_{r}"] = f16(u[:, :r] * np.sqrt(s[:r])) @ f16(np.sqrt(s[:r])[:, None] * right[:r])
    return tensors | {"errors": np.array(errors)}


def rank_for(out, columns, size):
    return min(size // (2 * (out + columns)), out, columns)


def rank_table():
    table = []
    for out, columns in ((20, 36), (1, 1), (1, 4096), (576, 576), (192, 576), (1536, 576), (576, 1536), (2048, 5632)):
        sizes = [math.ceil(out * columns / 8) + 2 * (out + columns)]
        sizes += [out * (math.ceil(columns * bits / 8) + 2 * math.ceil(columns / 128)) for bits in (2, 3, 4)]
        sizes += [2 * (out * columns // 5)]
        table += [[out, columns, size, rank_for(out, columns, size)] for size in sizes]
    return np.array(table, np.int32)


def main():
    rng = np.random.default_rng(600)
    w, x = ptq.draw_weights(rng), ptq.draw_inputs(rng)
    dead, few = x.copy(), ptq.draw_inputs(rng, sequences=1)
    dead[..., [5, 17]] = 0
    tensors = {"W": w, "x": x, "dead/x": dead, "few/x": few, "ranks": rank_table()}
    w = w.astype(np.float64)
    cases = {"plain": (x, None, 0.0), "aware": (x, x, 0.0), "aware_dead": (dead, dead, 0.01),
             "aware_few": (few, few, 0.01)}
    facts = {}
    for case, (inputs, aware, damping) in cases.items():
        found = results(w, inputs, decompose(w, aware, damping))
        tensors |= {f"{case}/{key}": value for key, value in found.items()}
        s = found["singular"]
        facts[case] = {"damping": damping, "margin": float((-np.diff(s) / s[0]).min())}
        print(f"{case}: errors at rank 5 {found['errors'][4]}, margin {facts[case]['margin']:.1e}")
        tails = np.cumsum((s**2)[::-1])[::-1][1:]
        if case == "plain":
            assert np.allclose(found["errors"][:-1, 0] * np.sum(w**2), tails)
        if case == "aware":
            outputs = np.sum((x.reshape(-1, w.shape[1]).astype(np.float64) @ w.T) ** 2)
            assert np.allclose(found["errors"][:-1, 1] * outputs, tails)
    plain, aware = tensors["plain/errors"], tensors["aware/errors"]
    assert (aware[:-1, 1] < plain[:-1, 1]).all() and (plain[:-1, 0] < aware[:-1, 0]).all()
    ptq.save("lowrank", SCRIPT, tensors, cases=facts)


if __name__ == "__main__":
    main()

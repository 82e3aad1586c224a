#!/usr/bin/env python3
"""SVID of every matrix of SmolLM2 against scikit-learn's rank-1 NMF and numpy's SVD.

Usage: svid.py ONEBIT MODEL.gguf   (needs gguf, numpy, scikit-learn; see tools/setup_reference.sh)

Runs `onebit quantize` with --init nmf and --init svd, reads S, g and h back from the packed files
with Python's gguf, computes ||W - S * h g^T||^2 / ||W||^2 in float64 and compares it with the error
of NMF(tol=1e-10, max_iter=5000) and of the leading singular triplet of |W|. Prints the largest
differences, the time and the peak memory of quantize; exits 1 when a bound is missed.
"""
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings

import gguf
import numpy as np
from sklearn.decomposition import NMF

BOUND = 1e-6        # relative error, absolute difference
SECONDS = 60        # the whole model
PEAK_BYTES = 2 << 30


def dense(reader):
    return {t.name: gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float32)
            for t in reader.tensors}


def packed_error(tensors, name, w):
    sign, g, h = (tensors[f"{name}.{part}"].data for part in ("sign", "in_scale", "out_scale"))
    bits = np.unpackbits(sign.view(np.uint8), axis=-1, bitorder="little")[:, :w.shape[1]]
    s = 1.0 - 2.0 * bits
    difference = w.astype(np.float64) - s * np.outer(h.astype(np.float64), g.astype(np.float64))
    return float((difference**2).sum() / (w.astype(np.float64)**2).sum())


def main():
    onebit, model = sys.argv[1:3]
    matrices = {name.removesuffix(".weight"): w for name, w in dense(gguf.GGUFReader(model)).items()
                if name.startswith("blk.") and w.ndim == 2}
    ours = {}
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        for init in ("nmf", "svd"):
            out = os.path.join(folder, init + ".gguf")
            start = time.time()
            subprocess.run([onebit, "quantize", model, "-o", out, "--init", init, "--scales", "f32"],
                           check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            seconds = time.time() - start
            peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
            print(f"svid: --init {init}: whole model in {seconds:.1f} s, peak {peak / 2**20:.0f} MiB")
            failed |= seconds > SECONDS or peak > PEAK_BYTES
            tensors = {t.name: t for t in gguf.GGUFReader(out).tensors}
            ours[init] = {name: packed_error(tensors, name, w) for name, w in matrices.items()}
    worst = {"nmf": 0.0, "svd": 0.0, "nmf against svd": 0.0}
    for name, w in matrices.items():
        magnitude = np.abs(w.astype(np.float64))
        norm = (magnitude**2).sum()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            nmf = NMF(n_components=1, init="nndsvda", tol=1e-10, max_iter=5000)
            left = nmf.fit_transform(magnitude)
        nmf_error = ((magnitude - left @ nmf.components_)**2).sum() / norm
        sigma = np.linalg.svd(magnitude, compute_uv=False)[0]
        svd_error = 1.0 - sigma**2 / norm
        worst["nmf"] = max(worst["nmf"], abs(ours["nmf"][name] - nmf_error))
        worst["svd"] = max(worst["svd"], abs(ours["svd"][name] - svd_error))
        worst["nmf against svd"] = max(worst["nmf against svd"],
                                       abs(ours["nmf"][name] - ours["svd"][name]))
    for what, difference in worst.items():
        print(f"svid: {what}: largest difference of the relative error over {len(matrices)} matrices "
              f"{difference:.2e} (bound {BOUND:.0e})")
        failed |= difference > BOUND
    mean = sum(ours["nmf"].values()) / len(matrices)
    print(f"svid: mean relative error {mean:.4f}; {'MISSED' if failed else 'held'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

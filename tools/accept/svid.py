#!/usr/bin/env python3
"""SVID of every matrix of SmolLM2 against scikit-learn's rank-1 NMF and numpy's SVD.

Usage: svid.py   (needs tools/setup_reference.sh)

Runs `onebit quantize` with --init nmf and --init svd, reads S, g and h back from the packed files
with Python's gguf, computes ||W - S * h g^T||^2 / ||W||^2 in float64 and compares it with the error
of NMF(tol=1e-10, max_iter=5000) and of the leading singular triplet of |W|.
"""
import pathlib
import resource
import subprocess
import sys
import tempfile
import time
import warnings

sys.path.append(str(pathlib.Path(__file__).parent))
import figures  # noqa: E402
import gguf  # noqa: E402
import numpy as np  # noqa: E402
from sklearn.decomposition import NMF  # noqa: E402

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


def quantize(report, init, out):
    start = time.monotonic()
    subprocess.run([figures.ONEBIT, "quantize", figures.SMOLLM2, "-o", out, "--form", "free", "--init", init,
                    "--scales", "f32"],
                   check=True, stdout=subprocess.DEVNULL)
    seconds = time.monotonic() - start
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    report.check(f"quantize --init {init}: whole model", f"{seconds:.1f} s", f"< {SECONDS} s", seconds < SECONDS)
    report.check(f"quantize --init {init}: peak memory", f"{peak / 2**20:.0f} MiB",
                 f"< {PEAK_BYTES / 2**20:.0f} MiB", peak < PEAK_BYTES)


def reference_errors(magnitude):
    """Of the rank-1 NMF and of the leading singular triplet."""
    norm = (magnitude**2).sum()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that 5000 iterations may end before the tolerance is met
        nmf = NMF(n_components=1, init="nndsvda", tol=1e-10, max_iter=5000)
        left = nmf.fit_transform(magnitude)
    sigma = np.linalg.svd(magnitude, compute_uv=False)[0]
    return {"nmf": ((magnitude - left @ nmf.components_)**2).sum() / norm, "svd": 1.0 - sigma**2 / norm}


def main():
    report = figures.Report("svid")
    with tempfile.TemporaryDirectory() as folder:
        outputs = {init: pathlib.Path(folder) / f"{init}.gguf" for init in ("nmf", "svd")}
        # Before any matrix is here: a child's peak counts what this process has when it starts it.
        for init, out in outputs.items():
            quantize(report, init, out)
        matrices = {name.removesuffix(".weight"): w
                    for name, w in dense(gguf.GGUFReader(figures.SMOLLM2)).items()
                    if name.startswith("blk.") and w.ndim == 2}
        ours = {}
        for init, out in outputs.items():
            tensors = {t.name: t for t in gguf.GGUFReader(out).tensors}
            ours[init] = {name: packed_error(tensors, name, w) for name, w in matrices.items()}
    expected = {name: reference_errors(np.abs(w.astype(np.float64))) for name, w in matrices.items()}
    for init, software in (("nmf", "scikit-learn's NMF"), ("svd", "numpy's SVD")):
        worst = max(abs(ours[init][name] - expected[name][init]) for name in matrices)
        report.check(f"--init {init}, {len(matrices)} matrices: error from {software}", f"{worst:.2e}",
                     f"within {BOUND:.0e}", worst <= BOUND)
    worst = max(abs(ours["nmf"][name] - ours["svd"][name]) for name in matrices)
    report.check("error of --init nmf from that of --init svd", f"{worst:.2e}", f"within {BOUND:.0e}",
                 worst <= BOUND)
    report.note("mean relative error", f"{sum(ours['nmf'].values()) / len(matrices):.6f}")
    return report.exit_status()


if __name__ == "__main__":
    sys.exit(main())

"""What the references of post-training quantisation share: inputs, groups, uniform grids, the Hessian.

A module for make_plain_types.py, make_rtn.py, make_gptq.py, make_lowrank.py, make_arb.py and make_billm.py;
needs numpy and scipy. Everything is float64 unless a caller hands in another type, written from the
papers' equations. Conventions of all files under tests/golden/rivals/:

- W is [out, in], x is [sequences, tokens, in], both stored f32; the layer is y = W x. Outputs are f64, codes
  and bit patterns i32, signs, masks and group numbers i8.
- Metadata: made_by, packages, and cases, a JSON object of each case's settings; defaults are left out.
- A row is an output channel. A group is `group` consecutive input columns; the last may be shorter; group 0
  means the whole row.
- round() is to nearest, ties to even. sign(0) is +1. Sums may be taken in any order.
- Metadata `margin`: how far the nearest decision (rounding, sign, order, best candidate) was from falling
  otherwise, in the unit of what is compared; inputs were drawn so that it is far above f64's rounding.
"""
import importlib.metadata
import json
import pathlib

import numpy as np
import scipy.linalg
from safetensors.numpy import save_file

OUT = pathlib.Path(__file__).parents[2] / "tests/golden/rivals"
ROWS, COLUMNS, GROUP = 20, 36, 16  # groups of 16, 16 and 4


def draw_weights(rng, rows=ROWS, columns=COLUMNS, group=GROUP):
    """[rows, columns] f32, heavy-tailed, rows and columns of different size. In every group the weight of
    largest magnitude is positive: the negative end of a symmetric grid lies on a tie of the rounding."""
    w = rng.standard_t(5, (rows, columns)) * 0.03
    w *= np.exp(0.4 * rng.standard_normal((rows, 1)) + 0.3 * rng.standard_normal((1, columns)))
    for part in groups(columns, group):
        largest = np.take_along_axis(w[:, part], np.abs(w[:, part]).argmax(1)[:, None], 1)
        w[:, part] *= np.where(largest < 0, -1, 1)
    return w.astype(np.float32)


def draw_inputs(rng, sequences=4, tokens=24, columns=COLUMNS, spread=0.5, outliers=2):
    """[sequences, tokens, columns] f32: correlated channels of different size, some of them far larger."""
    x = rng.standard_normal((sequences, tokens, columns))
    x = x @ (np.eye(columns) + 0.5 * rng.standard_normal((columns, columns)) / np.sqrt(columns))
    x *= np.exp(spread * rng.standard_normal(columns))
    x[..., rng.choice(columns, outliers, replace=False)] *= 6
    return x.astype(np.float32)


def groups(columns, size):
    """The groups as slices."""
    size = size or columns
    return [slice(begin, min(begin + size, columns)) for begin in range(0, columns, size)]


def gaps(values):
    """Smallest distance of two different ones of `values`."""
    steps = np.diff(np.sort(np.ravel(values)))
    return steps[steps > 0].min()


# Uniform grids, as the Quantizer of github.com/IST-DASLab/gptq (quant.py) defines them: a value is
# scale * (code - zero), code = clamp(round(w / scale) + zero, 0, 2^bits - 1).


def uniform_grid(w, bits, symmetric, round_scale=lambda scale: scale):
    """scale and zero [rows] of the rows of w; maxq = 2^bits - 1.

    asymmetric: lo = min(w, 0), hi = max(w, 0), where both are 0: hi = 1; scale = (hi - lo) / maxq,
                zero = round(-lo / scale). (quant.py takes -1 and +1 there, which puts zero on a tie; the
                values are 0 either way.)
    symmetric:  hi = max |w|, where 0: 1; scale = (hi + hi) / maxq, zero = 2^(bits - 1).
                (quant.py keeps lo = 0 where no weight is negative, which clips the upper half. Not followed.)
    1 bit:      asymmetric as above, which gives the levels 0 and scale (zero = 0, where hi >= -lo) or -scale
                and 0 (zero = 1): the "1-bit RTN" and "1-bit GPTQ" of published tables. The symmetric formula
                would give nothing but zeros; instead the levels are +-mean |w|, the least squares of two
                symmetric levels: scale = 2 mean |w|, zero = 1/2, code = (w >= 0).
    `round_scale` rounds the scale to its stored type before zero and codes are computed from it.
    """
    maxq = w.dtype.type(2**bits - 1)
    lo, hi = np.minimum(w.min(1), 0), np.maximum(w.max(1), 0)
    if symmetric and bits == 1:
        return round_scale(2 * np.abs(w).mean(1)), np.full(len(w), 0.5, w.dtype)
    if symmetric:
        hi = np.maximum(-lo, hi)
        hi = np.where(hi == 0, 1, hi).astype(w.dtype)
        return round_scale((hi + hi) / maxq), np.full(len(w), 2 ** (bits - 1), w.dtype)
    hi = np.where((lo == 0) & (hi == 0), 1, hi).astype(w.dtype)
    scale = round_scale((hi - lo) / maxq)
    return scale, np.round(-lo / scale)


def encode(w, scale, zero, bits):
    """Codes of w [rows, n] on the grids scale, zero [rows]."""
    scale, zero = scale[:, None], zero[:, None]
    if bits == 1 and np.all(zero == 0.5):
        return (w >= 0).astype(np.int32)
    return np.clip(np.round(w / scale) + zero, 0, 2**bits - 1).astype(np.int32)


def decode(codes, scale, zero):
    return scale[:, None] * (codes.astype(scale.dtype) - zero[:, None])


def code_margin(w, scale, zero, bits):
    """Distance of w / scale to the nearest border between two codes."""
    if bits == 1 and np.all(zero == 0.5):
        return (np.abs(w) / np.where(scale > 0, scale, 1)[:, None])[w != 0].min(initial=np.inf)
    position = w / scale[:, None] + zero[:, None]
    border = np.clip(np.floor(position), 0, 2**bits - 2) + 0.5
    return np.abs(position - border).min()


def grid_margin(w, bits, symmetric):
    """Distance of -lo / scale to a half, where zero is rounded."""
    if symmetric:
        return np.inf
    scale, _ = uniform_grid(w, bits, False)
    position = -np.minimum(w.min(1), 0) / scale
    return np.abs(position - np.floor(position) - 0.5).min()


# Calibration.


def hessian(x, dtype=np.float64):
    """H = 2/n sum of x x^T over all tokens; n counts sequences, not tokens. Accumulated by sequences as
    gptq.py does: H <- H n/(n+1) + 2/(n+1) X^T X, X [tokens, in]. Its size matters only beside the 1 of dead
    columns (their place in act_order, the mean for damping); GPTQModel counts tokens and differs there."""
    h = np.zeros((x.shape[2], x.shape[2]), dtype)
    for n, sequence in enumerate(x.astype(dtype)):
        h *= dtype(n / (n + 1))
        part = dtype(np.sqrt(2 / (n + 1))) * sequence
        h += part.T @ part
    return h


def without_dead(w, h):
    """Copies in which columns that no input reaches (H_jj = 0) have H_jj = 1 and weights 0."""
    w, h = w.copy(), h.copy()
    dead = np.flatnonzero(np.diag(h) == 0)
    h[dead, dead] = 1
    w[:, dead] = 0
    return w, h


def inverse_factor(h, damping):
    """Upper triangular U with U^T U = (H + damping * mean(diag H) I)^-1: `Hinv` of GPTQ, H^c of BiLLM. The
    mean is over all columns, dead ones (1) included."""
    damped = h + h.dtype.type(damping) * np.diag(h).mean() * np.eye(len(h), dtype=h.dtype)
    inverse = scipy.linalg.cho_solve((np.linalg.cholesky(damped), True), np.eye(len(h), dtype=h.dtype))
    return np.linalg.cholesky(inverse).T


def output_error(w, approximation, x):
    """|(W - W^) X|^2 / |W X|^2 over all tokens, with W as it was given (dead columns do not matter)."""
    x = x.reshape(-1, x.shape[-1]).astype(np.float64)
    return float(np.sum((x @ (w - approximation).T) ** 2) / np.sum((x @ w.T) ** 2))


def weight_error(w, approximation):
    return float(np.sum((w - approximation) ** 2) / np.sum(w**2))


def sort_metadata(path):
    """safetensors writes the metadata in random order; sorted, the same run gives the same file."""
    content = path.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + content[end:])


def save(name, script, tensors, **settings):
    """tests/golden/rivals/<name>.safetensors. Integers and signs are stored as the docstring above says."""
    versions = {p: importlib.metadata.version(p) for p in ("numpy", "scipy", "safetensors")}
    metadata = {"made_by": f"tools/golden/{script}", "packages": json.dumps(versions)}
    metadata |= {key: json.dumps(value) for key, value in settings.items()}
    OUT.mkdir(parents=True, exist_ok=True)
    path = OUT / f"{name}.safetensors"
    save_file({key: np.ascontiguousarray(value) for key, value in tensors.items()}, path, metadata)
    path.chmod(0o644)
    sort_metadata(path)
    print(f"{path.name}: {path.stat().st_size} bytes, {len(tensors)} tensors")

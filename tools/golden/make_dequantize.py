#!/usr/bin/env python3
"""Writes tests/golden/dequantize/dequantize.bin: stored blocks and their values, by Python's gguf.

Needs gguf 0.19 and numpy 2. Re-run from the project's root: tools/golden/make_dequantize.py
Read by src/formats/dequantize_test.cc.

file   = one line of ASCII (provenance), then records to the end of the file
record = char[8] type  char[8] "decode" or "encode"  u32 elements  u32 bytes  stored bytes
         f32 value * elements            (names zero padded, all little endian)
decode: values are what the stored bytes mean. encode: the bytes are what the values are stored as.
"""
import importlib.metadata
import pathlib
import struct

import numpy as np
from gguf import GGMLQuantizationType as Type
from gguf import quants

OUT = pathlib.Path(__file__).parents[2] / "tests/golden/dequantize/dequantize.bin"
PLAIN = {"f64": np.float64, "i8": np.int8, "i16": np.int16, "i32": np.int32, "i64": np.int64}
# Block types: bytes a block, weights a block, where the binary16 scales are.
BLOCKS = {
    "q4_0": (18, 32, [0]), "q4_1": (20, 32, [0, 2]), "q5_0": (22, 32, [0]), "q5_1": (24, 32, [0, 2]),
    "q8_0": (34, 32, [0]), "q2_k": (84, 256, [80, 82]), "q3_k": (110, 256, [108]),
    "q4_k": (144, 256, [0, 2]), "q5_k": (176, 256, [0, 2]), "q6_k": (210, 256, [208]),
}
# Largest and least normal, subnormals, zeros of both signs, an ordinary one, one.
SCALES = [0x7BFF, 0xFBFF, 0x0400, 0x0001, 0x83FF, 0x0000, 0x8000, 0x2A5D, 0xA111, 0x3C00]
rng = np.random.default_rng(20240511)


def record(name: str, way: str, stored: bytes, values: np.ndarray) -> bytes:
    values = np.ascontiguousarray(values, dtype="<f4").ravel()
    head = name.encode().ljust(8, b"\0") + way.encode().ljust(8, b"\0")
    return head + struct.pack("<II", values.size, len(stored)) + stored + values.tobytes()


def decode(name: str, stored: np.ndarray) -> bytes:
    return record(name, "decode", stored.tobytes(), quants.dequantize(stored, Type[name.upper()]))


def random_blocks(name: str) -> np.ndarray:
    size, _, scales = BLOCKS[name]
    blocks = rng.integers(0, 256, (len(SCALES), size), dtype=np.uint8)
    for row, block in enumerate(blocks):
        for i, at in enumerate(scales):
            block[at:at + 2].view("<u2")[0] = SCALES[(row + 3 * i) % len(SCALES)]
    return blocks


def halves() -> np.ndarray:
    """Every kind of 16-bit pattern, f16 and bf16: exponents' ends, quiet NaN, infinities."""
    ends = np.array([0, 1, 0x3FF, 0x400, 0x7BFF, 0x7C00, 0x7E00, 0x7F, 0x80, 0x7F7F, 0x7F80, 0x7FC0],
                    dtype="<u2")
    return np.concatenate([ends, ends | 0x8000, rng.integers(0, 0x7BFF, 40, dtype="<u2")])


def weights(count: int) -> np.ndarray:
    """Blocks of 32 over many magnitudes, with ties, zeros and one outlier a block."""
    w = rng.standard_normal((count, 32)).astype("<f4")
    w *= (10.0 ** rng.uniform(-6, 3, (count, 1))).astype("<f4")
    w[0] = 0
    w[1] = np.arange(32) / 2 - 8          # halves: ties of the rounding
    w[1, 0] = 127
    w[2, 5] = 1e5
    w[3] *= np.float32(1e-38)             # q8_0: the scale's inverse overflows or nearly so
    w[4] *= np.float32(1e-30)             # q8_0: the scale vanishes as binary16
    w[5] = 65504 * 127.0
    w[6] = -w[6]
    w[7] = np.float32(3e-44)
    return w


def main() -> None:
    out = b""
    for name, dtype in PLAIN.items():
        if np.issubdtype(dtype, np.integer):
            limits = np.iinfo(dtype)
            stored = rng.integers(limits.min, limits.max, 40, dtype=dtype, endpoint=True)
            stored[:3] = [limits.min, limits.max, -1]
        else:
            stored = rng.standard_normal(40) * 10.0 ** rng.uniform(-44, 38, 40)
            stored[:3] = [np.inf, -0.0, 1e300]
        with np.errstate(over="ignore"):
            out += record(name, "decode", stored.tobytes(), stored.astype(np.float32))
    f32 = np.array([0, -0.0, 1e-45, -3.4e38, np.inf, np.pi], dtype="<f4")
    out += record("f32", "decode", f32.tobytes(), f32)
    out += decode("f16", halves().view(np.uint8)) + decode("bf16", halves().view(np.uint8))

    for name in BLOCKS:
        out += decode(name, random_blocks(name))
        if name.endswith(("_0", "_1")):
            w = rng.standard_normal((4, 32)).astype("<f4")
            out += decode(name, quants.quantize(w, Type[name.upper()]))

    with np.errstate(all="ignore"):
        w = weights(40)
        out += record("q8_0", "encode", quants.quantize(w, Type.Q8_0).tobytes(), w)
        # q4_0: without rows whose scale no f32 inverts or no binary16 holds.
        q4_0 = record("q4_0", "encode", quants.quantize(np.delete(w, [3, 5, 6, 7], 0), Type.Q4_0).tobytes(),
                      np.delete(w, [3, 5, 6, 7], 0))
        w = np.concatenate([w.ravel(), np.array([np.inf, -np.inf, np.nan, -0.0, 1e-45, 1.00390625,
                                                 1.01171875, 3.3e38], dtype="<f4")])
        out += record("bf16", "encode", quants.quantize(w, Type.BF16).tobytes(), w)
        w = w[np.abs(w) < 65520]
        out += record("f16", "encode", quants.quantize(w, Type.F16).tobytes(), w)
        out += record("f32", "encode", w.tobytes(), w)
        out += q4_0

    versions = " ".join(f"{p} {importlib.metadata.version(p)}" for p in ("gguf", "numpy"))
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_bytes(f"onebit dequantize golden, tools/golden/make_dequantize.py, {versions}\n".encode()
                    + out)
    print(f"{OUT}: {OUT.stat().st_size} bytes")


main()

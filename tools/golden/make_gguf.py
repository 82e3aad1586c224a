#!/usr/bin/env python3
"""Writes tests/golden/gguf/every_type.gguf with Python's gguf: every metadata type, nested arrays,
every tensor type this program reads, an alignment other than the default.

Needs gguf 0.19 and numpy 2. Re-run from the project's root: tools/golden/make_gguf.py
Read by src/file/gguf_test.cc. Byte i of tensor number t (from 0) is (37 i + 11 t + 5) mod 251.
"""
import importlib.metadata
import pathlib

import numpy as np
from gguf import GGMLQuantizationType, GGUFValueType, GGUFWriter
from gguf.constants import GGML_QUANT_SIZES

OUT = pathlib.Path(__file__).parents[2] / "tests/golden/gguf/every_type.gguf"
ALIGNMENT = 64
SCALARS = {
    "UINT8": [0, 255], "INT8": [-128, 127], "UINT16": [0, 65535], "INT16": [-32768, 32767],
    "UINT32": [0, 2**32 - 1], "INT32": [-2**31, 2**31 - 1], "FLOAT32": [-0.15625, 3.0e38],
    "BOOL": [False, True], "STRING": ["", "naïve\n\t'quoted'"], "UINT64": [0, 2**64 - 1],
    "INT64": [-2**63, 2**63 - 1], "FLOAT64": [0.1, -1e300],
}
# Name, type, shape with the outermost dimension first.
TENSORS = [
    ("one.f32", "F32", [1]), ("matrix.f32", "F32", [2, 3]), ("cube.f16", "F16", [2, 3, 5]),
    ("four.bf16", "BF16", [2, 1, 3, 7]), ("odd.i8", "I8", [13]), ("i16", "I16", [3]), ("i32", "I32", [5]),
    ("i64", "I64", [2]), ("f64", "F64", [3]), ("q4_0", "Q4_0", [2, 32]), ("q4_1", "Q4_1", [1, 64]),
    ("q5_0", "Q5_0", [32]), ("q5_1", "Q5_1", [32]), ("q8_0", "Q8_0", [3, 64]), ("q2_k", "Q2_K", [256]),
    ("q3_k", "Q3_K", [2, 256]), ("q4_k", "Q4_K", [256]), ("q5_k", "Q5_K", [256]), ("q6_k", "Q6_K", [1, 512]),
]


def main() -> None:
    OUT.parent.mkdir(parents=True, exist_ok=True)
    writer = GGUFWriter(OUT, "test")
    versions = " ".join(f"{p} {importlib.metadata.version(p)}" for p in ("gguf", "numpy"))
    writer.add_string("provenance", f"tools/golden/make_gguf.py, {versions}")
    writer.add_custom_alignment(ALIGNMENT)
    for name, (low, high) in SCALARS.items():
        kind = GGUFValueType[name]
        writer.add_key_value(f"low.{name}", low, kind)
        writer.add_key_value(f"high.{name}", high, kind)
        writer.add_key_value(f"array.{name}", [low, high, low], GGUFValueType.ARRAY, kind)
    writer.add_array("array.ARRAY", [[1, 2, 3], ["a", "bc"], [[0.5], [True, False]]])
    for number, (name, kind, shape) in enumerate(TENSORS):
        block, size = GGML_QUANT_SIZES[GGMLQuantizationType[kind]]
        *outer, inner = shape
        count = int(np.prod(outer, dtype=int)) * inner // block * size
        data = ((37 * np.arange(count) + 11 * number + 5) % 251).astype(np.uint8)
        writer.add_tensor(name, data.reshape(*outer, inner // block * size),
                          raw_dtype=GGMLQuantizationType[kind])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    print(f"{OUT}: {OUT.stat().st_size} bytes")


main()

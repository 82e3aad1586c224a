#!/usr/bin/env python3
"""Writes tests/golden/safetensors/: every_type.safetensors, every_type_read.safetensors and the
folder sharded/, with the safetensors package.

Needs safetensors 0.8 and numpy 2. Re-run from the
project's root: tools/golden/make_safetensors.py
Read by src/file/safetensors_test.cc. Byte i of a tensor is (37 i + 11 n + 5) mod 251, n the length of
its name.
"""
import importlib.metadata
import json
import pathlib

import numpy as np
import safetensors

OUT = pathlib.Path(__file__).parents[2] / "tests/golden/safetensors"
PROVENANCE = f"tools/golden/make_safetensors.py, safetensors {importlib.metadata.version('safetensors')}"
READ = {  # name: dtype, bytes an element, shape
    "scalar": ("float64", 8, []), "nothing": ("float32", 4, [0, 7]), "matrix": ("float32", 4, [2, 3]),
    "half": ("float16", 2, [5]), "brain": ("bfloat16", 2, [2, 1, 3]), "big": ("int64", 8, [2]),
    "int": ("int32", 4, [3]), "short": ("int16", 2, [3]), "byte": ("int8", 1, [13]),
    'naïve "name"\n': ("float32", 4, [1]),
}
OTHER = {
    "u8": ("uint8", 1, [3]), "u16": ("uint16", 2, [3]), "u32": ("uint32", 4, [1]), "u64": ("uint64", 8, [1]),
    "bool": ("bool", 1, [2, 2]), "e4m3": ("float8_e4m3fn", 1, [4]), "e5m2": ("float8_e5m2", 1, [2]),
}


def write(path: pathlib.Path, tensors: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    kept, specs = [], {}
    for name, (dtype, size, shape) in tensors.items():
        count = size * int(np.prod(shape, dtype=int))
        data = ((37 * np.arange(count) + 11 * len(name.encode()) + 5) % 251).astype(np.uint8)
        kept.append(data)
        specs[name] = safetensors.TensorSpec(dtype=dtype, shape=shape, data_ptr=data.ctypes.data,
                                             data_len=data.nbytes)
    path.write_bytes(safetensors.serialize(specs, {"provenance": PROVENANCE}))
    print(f"{path}: {path.stat().st_size} bytes")


def main() -> None:
    write(OUT / "every_type_read.safetensors", READ)
    write(OUT / "every_type.safetensors", READ | OTHER)
    shards = [("model-00001-of-00002.safetensors", ["matrix", "half", "byte"]),
              ("model-00002-of-00002.safetensors", ["brain", "scalar"])]
    for file, names in shards:
        write(OUT / "sharded" / file, {name: READ[name] for name in names})
    total = sum(READ[name][1] * int(np.prod(READ[name][2], dtype=int))
                for _, names in shards for name in names)
    index = {"metadata": {"total_size": total, "provenance": PROVENANCE},
             "weight_map": {name: file for file, names in shards for name in names}}
    (OUT / "sharded/model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")


main()

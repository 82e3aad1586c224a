#!/usr/bin/env python3
"""Prints what Python's gguf reads of a file: "key TYPES value" and "name TYPE shape bytes" lines.

Usage: tools/dump_gguf.py FILE. Needs gguf (tools/setup.sh installs it). src/file/gguf_test.cc compares
its output with what the program wrote. Values are JSON, shapes outermost first, bytes hexadecimal.
"""
import json
import sys

from gguf import GGUFReader

reader = GGUFReader(sys.argv[1])
print("alignment", reader.alignment)
for key, field in reader.fields.items():
    if not key.startswith("GGUF."):
        print(key, "/".join(kind.name for kind in field.types), json.dumps(field.contents()))
for tensor in reader.tensors:
    shape = [int(dim) for dim in reversed(tensor.shape)]
    print(tensor.name, tensor.tensor_type.name, json.dumps(shape), tensor.data.tobytes().hex())

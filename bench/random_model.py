#!/usr/bin/env python3
"""A model with random weights, to measure speed with: its text means nothing.

Usage: random_model.py --shape 7b|smollm2|tiny --type TYPE [--head TYPE] [--layers N] -o OUT.gguf [--seed N]

TYPE of the matrices: onebit (our packed form `free`), or a type of ggml: q1_0, tq2_0, q4_0, q8_0, f16.
TYPE of the head and the embedding: q8_0 (default), f16, q4_0. Needs the Python packages numpy and gguf:
run it with .deps/reference/bin/python, which tools/setup_reference.sh makes.
"""
import argparse
import math
import pathlib
import sys

import gguf
import numpy as np

SHAPES = {
    # Llama-2-7B's, SmolLM2-135M's, and one for a quick look.
    "7b": dict(dim=4096, layers=32, heads=32, kv_heads=32, ffn=11008, vocab=32000, tied=False, rope=1e4),
    "smollm2": dict(dim=576, layers=30, heads=9, kv_heads=3, ffn=1536, vocab=49152, tied=True, rope=1e5),
    "tiny": dict(dim=256, layers=2, heads=4, kv_heads=2, ffn=512, vocab=512, tied=True, rope=1e4),
}
CONTEXT = 2048
Q = gguf.GGMLQuantizationType
# Bytes of a block, and where in it the half floats lie and what they hold for weights of variance 1 / in.
BLOCKS = {
    "q1_0": (Q.Q1_0, [0]), "tq2_0": (Q.TQ2_0, [64]), "q4_0": (Q.Q4_0, [0]), "q8_0": (Q.Q8_0, [0]), "f16": (Q.F16, None),
}
RMS = {"q1_0": 1.0, "tq2_0": 0.8, "q4_0": 4.6, "q8_0": 74.0}  # of a random block's integers


class Model:
    def __init__(self, args):
        self.spec, self.args = SHAPES[args.shape] | ({"layers": args.layers} if args.layers else {}), args
        self.rng = np.random.default_rng(args.seed)
        self.writer = gguf.GGUFWriter(args.output, "llama")
        self.tensors = []  # (name, function that makes it)

    def metadata(self):
        s, w = self.spec, self.writer
        w.add_name(f"random {self.args.shape}")
        w.add_vocab_size(s["vocab"])
        w.add_context_length(CONTEXT)
        w.add_embedding_length(s["dim"])
        w.add_block_count(s["layers"])
        w.add_feed_forward_length(s["ffn"])
        w.add_head_count(s["heads"])
        w.add_head_count_kv(s["kv_heads"])
        w.add_layer_norm_rms_eps(1e-5)
        w.add_rope_freq_base(s["rope"])
        w.add_rope_dimension_count(s["dim"] // s["heads"])
        tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{i:02X}>" for i in range(256)]
        types = [gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL] + [gguf.TokenType.BYTE] * 256
        tokens += [f"\u2581{i}" for i in range(s["vocab"] - len(tokens))]
        types += [gguf.TokenType.NORMAL] * (s["vocab"] - len(types))
        w.add_tokenizer_model("llama")
        w.add_tokenizer_pre("default")
        w.add_token_list(tokens)
        w.add_token_scores([-float(i) for i in range(s["vocab"])])
        w.add_token_types(types)
        w.add_bos_token_id(1)
        w.add_eos_token_id(2)
        w.add_unk_token_id(0)
        if self.args.type == "onebit":
            w.add_uint32("onebit.version", 2)
            for key, value in {"method": "onebit", "form": "free", "layout": "sign1.v1", "program": "random_model.py",
                               "source.name": "random", "source.sha256": "0" * 64}.items():
                w.add_string(f"onebit.{key}", value)

    def floats(self, name, values, dtype=np.float32):
        self.add(name, (len(values),), dtype, None, lambda: np.asarray(values, dtype))

    def add(self, name, shape, dtype, raw, make):
        data = np.dtype(dtype)
        size = int(np.prod(shape)) * data.itemsize
        self.writer.add_tensor_info(name, shape, data, size, raw)
        self.tensors.append(make)

    def blocks(self, name, rows, cols, kind):
        raw, halves = BLOCKS[kind]
        if halves is None:
            self.add(name, (rows, cols), np.float16, None,
                     lambda: (self.rng.random((rows, cols), np.float32) * 2 - 1).astype(np.float16) *
                     np.float16(math.sqrt(3 / cols)))
            return
        length, size = gguf.GGML_QUANT_SIZES[raw]
        if cols % length:
            sys.exit(f"random_model: {name}: rows of {cols} values, expected a multiple of {length} for {kind}")

        def make():
            data = np.frombuffer(self.rng.bytes(rows * cols // length * size), np.uint8).reshape(-1, size).copy()
            half = np.float16(1 / (math.sqrt(cols) * RMS[kind]))
            for at in halves:
                data[:, at:at + 2] = np.frombuffer(half.tobytes(), np.uint8)
            return data.reshape(rows, cols // length * size)
        self.add(name, (rows, cols // length * size), np.uint8, raw, make)

    def matrix(self, name, rows, cols):
        if self.args.type != "onebit":
            return self.blocks(f"{name}.weight", rows, cols, self.args.type)
        words = (cols + 63) // 64

        def signs():
            bits = np.frombuffer(self.rng.bytes(rows * words * 8), np.uint64).reshape(rows, words).copy()
            if cols % 64:
                bits[:, -1] &= np.uint64((1 << (cols % 64)) - 1)
            return bits.view(np.int8)
        self.add(f"{name}.sign", (rows, words * 8), np.int8, None, signs)
        self.floats(f"{name}.in_scale", np.full(cols, 1 / math.sqrt(cols)), np.float16)
        self.floats(f"{name}.out_scale", np.ones(rows), np.float16)

    def write(self):
        s = self.spec
        self.metadata()
        kv = s["dim"] // s["heads"] * s["kv_heads"]
        self.blocks("token_embd.weight", s["vocab"], s["dim"], self.args.head)
        self.floats("output_norm.weight", np.ones(s["dim"]))
        if not s["tied"]:
            self.blocks("output.weight", s["vocab"], s["dim"], self.args.head)
        for i in range(s["layers"]):
            self.floats(f"blk.{i}.attn_norm.weight", np.ones(s["dim"]))
            for part, rows, cols in (("attn_q", s["dim"], s["dim"]), ("attn_k", kv, s["dim"]), ("attn_v", kv, s["dim"]),
                                     ("attn_output", s["dim"], s["dim"])):
                self.matrix(f"blk.{i}.{part}", rows, cols)
            self.floats(f"blk.{i}.ffn_norm.weight", np.ones(s["dim"]))
            for part, rows, cols in (("ffn_gate", s["ffn"], s["dim"]), ("ffn_up", s["ffn"], s["dim"]),
                                     ("ffn_down", s["dim"], s["ffn"])):
                self.matrix(f"blk.{i}.{part}", rows, cols)
        self.writer.write_header_to_file()
        self.writer.write_kv_data_to_file()
        self.writer.write_ti_data_to_file()
        for make in self.tensors:
            self.writer.write_tensor_data(make())
        self.writer.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--shape", choices=SHAPES, required=True)
    parser.add_argument("--type", choices=["onebit", *BLOCKS], required=True)
    parser.add_argument("--head", choices=["q8_0", "f16", "q4_0"], default="q8_0")
    parser.add_argument("--layers", type=int, help="so many blocks, not all of the shape")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=pathlib.Path, required=True)
    args = parser.parse_args()
    final, args.output = args.output, args.output.with_name(args.output.name + ".part")
    Model(args).write()
    args.output.replace(final)


if __name__ == "__main__":
    main()

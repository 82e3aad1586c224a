#!/usr/bin/env python3
"""Converts the stories260K model of llama2.c into the two formats that this project reads.

Usage: tools/convert_stories260k.py SRC_DIR OUT_DIR

SRC_DIR holds stories260K.bin (llama2.c's version 0: seven int32, then f32 tensors) and tok512.bin.
Writes OUT_DIR/stories260k/ (a Hugging Face folder) and, last, OUT_DIR/stories260k.gguf (f32).
Needs the packages numpy and gguf only: safetensors and SentencePiece files are written by hand.

Rotary layout: llama2.c turns neighbouring values of a head, as GGUF's llama does; Hugging Face pairs
value i with value i + head_dim/2, so the rows of q and k are reordered for its folder.
"""
import json
import pathlib
import struct
import sys

import gguf
import numpy as np

NORM_EPS = 1e-5  # llama2.c's run.c
ROPE_THETA = 10000.0
UNK, BOS, EOS, FIRST_BYTE = 0, 1, 2, 3  # ids fixed by llama2.c's tokenizer training
NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6  # token types, the same numbers in both formats
SPACE = "\N{LOWER ONE EIGHTH BLOCK}"  # SentencePiece's mark of a space


def read_model(path: pathlib.Path) -> tuple[dict, dict]:
    """The header as a dict, and the tensors by llama2.c's names."""
    raw = path.read_bytes()
    names = ("dim", "ffn", "layers", "heads", "kv_heads", "vocab", "context")
    c = dict(zip(names, struct.unpack_from("<7i", raw)))
    c["tied"] = c["vocab"] > 0
    c["vocab"] = abs(c["vocab"])
    c["head_dim"] = c["dim"] // c["heads"]
    n, d, kv = c["layers"], c["dim"], c["kv_heads"] * c["head_dim"]
    shapes = {
        "embedding": (c["vocab"], d), "attn_norm": (n, d), "q": (n, d, d), "k": (n, kv, d),
        "v": (n, kv, d), "o": (n, d, d), "ffn_norm": (n, d), "gate": (n, c["ffn"], d),
        "down": (n, d, c["ffn"]), "up": (n, c["ffn"], d), "norm": (d,),
        "cos": (c["context"], c["head_dim"] // 2), "sin": (c["context"], c["head_dim"] // 2),
    }
    if not c["tied"]:
        shapes["head"] = (c["vocab"], d)
    expected = 28 + 4 * sum(int(np.prod(s)) for s in shapes.values())
    if len(raw) != expected:
        sys.exit(f"{path}: found {len(raw)} bytes, expected {expected}")
    tensors, offset = {}, 28
    for name, shape in shapes.items():
        count = int(np.prod(shape))
        tensors[name] = np.frombuffer(raw, "<f4", count, offset).reshape(shape)
        offset += 4 * count
    return c, tensors


def read_tokens(path: pathlib.Path, vocab: int) -> list[tuple[str, float, int]]:
    """(piece, score, type) of every id, as SentencePiece spells them."""
    raw = path.read_bytes()
    offset, tokens = 4, []
    for i in range(vocab):
        score, size = struct.unpack_from("<fi", raw, offset)
        text = raw[offset + 8 : offset + 8 + size].decode()
        offset += 8 + size
        special = {UNK: ("<unk>", UNKNOWN), BOS: ("<s>", CONTROL), EOS: ("</s>", CONTROL)}
        if i in special:
            piece, kind = special[i]
        elif i < FIRST_BYTE + 256:
            piece, kind = text, BYTE
            if text != f"<0x{i - FIRST_BYTE:02X}>":
                sys.exit(f"{path}: token {i}: found {text!r}, expected a byte token")
        else:
            piece, kind = text.replace(" ", SPACE), NORMAL
        tokens.append((piece, score, kind))
    if offset != len(raw):
        sys.exit(f"{path}: found {len(raw)} bytes, expected {offset}")
    return tokens


def named(c: dict, t: dict, hf: bool) -> list[tuple[str, np.ndarray]]:
    """The tensors under the names and in the rotary layout of one of the two formats."""

    def rows(w: np.ndarray) -> np.ndarray:
        if not hf:
            return w
        heads = w.shape[0] // c["head_dim"]
        return w.reshape(heads, c["head_dim"] // 2, 2, -1).swapaxes(1, 2).reshape(w.shape)

    out = [("model.embed_tokens" if hf else "token_embd", t["embedding"])]
    for i in range(c["layers"]):
        layer = f"model.layers.{i}." if hf else f"blk.{i}."
        out += [
            (layer + ("input_layernorm" if hf else "attn_norm"), t["attn_norm"][i]),
            (layer + ("self_attn.q_proj" if hf else "attn_q"), rows(t["q"][i])),
            (layer + ("self_attn.k_proj" if hf else "attn_k"), rows(t["k"][i])),
            (layer + ("self_attn.v_proj" if hf else "attn_v"), t["v"][i]),
            (layer + ("self_attn.o_proj" if hf else "attn_output"), t["o"][i]),
            (layer + ("post_attention_layernorm" if hf else "ffn_norm"), t["ffn_norm"][i]),
            (layer + ("mlp.gate_proj" if hf else "ffn_gate"), t["gate"][i]),
            (layer + ("mlp.up_proj" if hf else "ffn_up"), t["up"][i]),
            (layer + ("mlp.down_proj" if hf else "ffn_down"), t["down"][i]),
        ]
    out.append(("model.norm" if hf else "output_norm", t["norm"]))
    if not c["tied"]:
        out.append(("lm_head" if hf else "output", t["head"]))
    return [(name + ".weight", np.ascontiguousarray(value)) for name, value in out]


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out) + bytes([value])


def field(number: int, value: int | float | bytes) -> bytes:
    """One protocol buffer field: varint, 32-bit float or bytes."""
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def sentencepiece_model(tokens: list[tuple[str, float, int]]) -> bytes:
    """sentencepiece_model.proto: pieces (1), trainer_spec (2), normalizer_spec (3)."""
    out = b"".join(
        field(1, field(1, piece.encode()) + field(2, score) + field(3, kind))
        for piece, score, kind in tokens
    )
    model_type_bpe = 2
    out += field(2, field(3, model_type_bpe) + field(4, len(tokens)) + field(35, 1)
                 + field(40, UNK) + field(41, BOS) + field(42, EOS))
    # No Unicode normalisation, a space before the text, spaces kept and escaped.
    out += field(3, field(1, b"identity") + field(3, 1) + field(4, 0) + field(5, 1))
    return out


def write_safetensors(path: pathlib.Path, tensors: list[tuple[str, np.ndarray]]) -> None:
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, value in tensors:
        header[name] = {"dtype": "F32", "shape": list(value.shape),
                        "data_offsets": [offset, offset + value.nbytes]}
        offset += value.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(v.tobytes() for _, v in tensors))


def write_hf(folder: pathlib.Path, c: dict, t: dict, tokens: list) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": c["vocab"],
        "hidden_size": c["dim"], "intermediate_size": c["ffn"], "num_hidden_layers": c["layers"],
        "num_attention_heads": c["heads"], "num_key_value_heads": c["kv_heads"],
        "head_dim": c["head_dim"], "hidden_act": "silu", "max_position_embeddings": c["context"],
        "rms_norm_eps": NORM_EPS, "rope_theta": ROPE_THETA, "tie_word_embeddings": c["tied"],
        "bos_token_id": BOS, "eos_token_id": EOS, "torch_dtype": "float32",
    }
    tokenizer = {
        "tokenizer_class": "LlamaTokenizer", "add_bos_token": True, "add_eos_token": False,
        "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "legacy": True,
        "clean_up_tokenization_spaces": False, "model_max_length": c["context"],
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer, indent=2) + "\n")
    (folder / "tokenizer.model").write_bytes(sentencepiece_model(tokens))
    write_safetensors(folder / "model.safetensors", named(c, t, hf=True))


def write_gguf(path: pathlib.Path, c: dict, t: dict, tokens: list) -> None:
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("stories260K")
    writer.add_license("mit")
    writer.add_block_count(c["layers"])
    writer.add_context_length(c["context"])
    writer.add_embedding_length(c["dim"])
    writer.add_feed_forward_length(c["ffn"])
    writer.add_head_count(c["heads"])
    writer.add_head_count_kv(c["kv_heads"])
    writer.add_layer_norm_rms_eps(NORM_EPS)
    writer.add_rope_freq_base(ROPE_THETA)
    writer.add_rope_dimension_count(c["head_dim"])
    writer.add_vocab_size(c["vocab"])
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([piece for piece, _, _ in tokens])
    writer.add_token_scores([score for _, score, _ in tokens])
    writer.add_token_types([kind for _, _, kind in tokens])
    writer.add_bos_token_id(BOS)
    writer.add_eos_token_id(EOS)
    writer.add_unk_token_id(UNK)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(True)
    for name, value in named(c, t, hf=False):
        writer.add_tensor(name, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    source, out = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    config, tensors = read_model(source / "stories260K.bin")
    tokens = read_tokens(source / "tok512.bin", config["vocab"])
    write_hf(out / "stories260k", config, tensors, tokens)
    write_gguf(out / "stories260k.gguf", config, tensors, tokens)


if __name__ == "__main__":
    main()

"""SmolLM2-135M as transformers runs it: the GGUF's weights dequantised by Python's `gguf`.

A module for the scripts beside it; it needs torch, transformers, tokenizers, gguf and numpy. The
dequantised weights are this project's full-precision model of record.

GGUF's llama turns neighbouring values of a head, Hugging Face pairs value i with i + head_dim/2, so
the rows of q and k go back to the latter's order here.
"""
import pathlib

import gguf
import numpy as np
import tokenizers
import torch
from gguf import quants
from transformers import LlamaConfig, LlamaForCausalLM

import tokenizer_reference

ROOT = pathlib.Path(__file__).parents[2]
GGUF = ROOT / ".deps/models/smollm2-135m-instruct.gguf"
# Pattern of GGUF's names -> pattern of Hugging Face's.
LAYER_NAMES = {
    "attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
NAMES = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}


def hf_name(name: str) -> str:
    """model.layers.3.self_attn.q_proj.weight of blk.3.attn_q.weight."""
    parts = name.removesuffix(".weight").split(".")
    if parts[0] == "blk":
        return f"model.layers.{parts[1]}.{LAYER_NAMES[parts[2]]}.weight"
    return NAMES[parts[0]] + ".weight"


def halves_from_neighbours(w: np.ndarray, heads: int) -> np.ndarray:
    """Rows 2i, 2i+1 of each head go to i, i + head_dim/2."""
    out, columns = w.shape
    return w.reshape(heads, out // heads // 2, 2, columns).swapaxes(1, 2).reshape(out, columns)


def read_config(reader: gguf.GGUFReader) -> LlamaConfig:
    def get(key: str):
        field = reader.get_field(key)
        return None if field is None else field.contents()

    tied = not any(t.name == "output.weight" for t in reader.tensors)
    return LlamaConfig(
        vocab_size=int(next(t.shape[1] for t in reader.tensors if t.name == "token_embd.weight")),
        hidden_size=get("llama.embedding_length"), intermediate_size=get("llama.feed_forward_length"),
        num_hidden_layers=get("llama.block_count"), num_attention_heads=get("llama.attention.head_count"),
        num_key_value_heads=get("llama.attention.head_count_kv"),
        max_position_embeddings=get("llama.context_length"),
        rms_norm_eps=get("llama.attention.layer_norm_rms_epsilon"),
        rope_theta=get("llama.rope.freq_base"), tie_word_embeddings=tied,
        bos_token_id=get("tokenizer.ggml.bos_token_id"), eos_token_id=get("tokenizer.ggml.eos_token_id"),
        attn_implementation="eager")


def load_model(path: pathlib.Path = GGUF, dtype: torch.dtype = torch.float32) -> LlamaForCausalLM:
    """The model in eval mode; weights are exact in f32."""
    reader = gguf.GGUFReader(path)
    config = read_config(reader)
    state = {}
    for tensor in reader.tensors:
        w = quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        if tensor.name.endswith("attn_q.weight"):
            w = halves_from_neighbours(w, config.num_attention_heads)
        elif tensor.name.endswith("attn_k.weight"):
            w = halves_from_neighbours(w, config.num_key_value_heads)
        state[hf_name(tensor.name)] = torch.from_numpy(np.ascontiguousarray(w))
    model = LlamaForCausalLM(config)
    missing, unexpected = model.load_state_dict(state, strict=False)
    allowed = ["lm_head.weight"] if config.tie_word_embeddings else []
    assert list(missing) in ([], allowed) and not unexpected, (missing, unexpected)
    model.tie_weights()
    return model.to(dtype).eval()


def load_tokenizer(path: pathlib.Path = GGUF) -> tokenizers.Tokenizer:
    """SmolLM2's byte-level BPE: single digits apart, then GPT-2's pattern."""
    return tokenizer_reference.smollm2(path)

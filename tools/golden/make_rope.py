#!/usr/bin/env python3
"""Makes tests/golden/rope/frequencies.json: rotary frequencies as transformers computes them.

Usage: tools/golden/make_rope.py
Needs transformers 5.24 and torch 2.11. Each case is a config.json as a user may have it, in the
spelling of transformers 4 (rope_scaling, rope_theta) or 5 (rope_parameters), and the inverse
frequencies that LlamaRotaryEmbedding holds for it, as the decimal that gives the f32 back.
"""
import json
import pathlib

import torch
import transformers
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

SIZES = {"model_type": "llama", "vocab_size": 64, "intermediate_size": 96, "num_hidden_layers": 1,
         "rms_norm_eps": 1e-5}
SMALL = {"hidden_size": 120, "num_attention_heads": 12, "num_key_value_heads": 4}
LARGE = {"hidden_size": 256, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 128}
LLAMA31 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
           "original_max_position_embeddings": 8192}
CASES = {
    "default": {**LARGE, "max_position_embeddings": 2048, "rope_theta": 10000.0},
    "default_small_head": {**SMALL, "max_position_embeddings": 512},
    "null_scaling": {**LARGE, "max_position_embeddings": 8192, "rope_theta": 500000.0,
                     "rope_scaling": None},
    "default_v5": {**LARGE, "max_position_embeddings": 8192,
                   "rope_parameters": {"rope_type": "default", "rope_theta": 100000}},
    "linear_v4": {**LARGE, "max_position_embeddings": 16384, "rope_theta": 10000.0,
                  "rope_scaling": {"type": "linear", "factor": 2.5}},
    "linear_v5": {**SMALL, "max_position_embeddings": 16384,
                  "rope_parameters": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 3.0}},
    "llama31_v4": {**LARGE, "max_position_embeddings": 131072, "rope_theta": 500000.0,
                   "rope_scaling": {"rope_type": "llama3", **LLAMA31}},
    "llama32_v5": {**LARGE, "max_position_embeddings": 131072,
                   "rope_parameters": {"rope_type": "llama3", "rope_theta": 500000.0, **LLAMA31,
                                       "factor": 32.0}},
    "llama3_small_head": {**SMALL, "max_position_embeddings": 512, "rope_theta": 10000.0,
                          "rope_scaling": {"rope_type": "llama3", "factor": 4.0,
                                           "low_freq_factor": 1.0, "high_freq_factor": 2.0,
                                           "original_max_position_embeddings": 64}},
}


def main() -> None:
    cases = []
    for name, options in CASES.items():
        config = {**SIZES, **options}
        # A copy: transformers moves the older keys out of the dict that it is given.
        parsed = transformers.LlamaConfig(**json.loads(json.dumps(config)))
        frequencies = LlamaRotaryEmbedding(parsed).inv_freq
        assert frequencies.dtype == torch.float32
        cases.append({"name": name, "config": config, "frequencies": frequencies.tolist()})
    golden = {
        "made_by": "tools/golden/make_rope.py",
        "versions": {"transformers": transformers.__version__,
                     "torch": torch.__version__.split("+")[0]},
        "cases": cases,
    }
    out = pathlib.Path(__file__).parents[2] / "tests" / "golden" / "rope" / "frequencies.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()

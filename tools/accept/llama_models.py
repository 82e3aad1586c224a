"""SmolLM2 in the types that the comparisons with llama.cpp need, made once by its own llama-quantize.

A module for the scripts beside it. `f32` is the installed Q4_1 file dequantised, `q4_0` and `q8_0` are
quantised from that, `q4_0-f32` is q4_0 dequantised: the same weights, which llama.cpp then multiplies
with activations in f32, where those of quantised matrices are rounded to eight bits.
"""
import os
import subprocess

import figures

FOLDER = figures.ROOT / ".deps/accept/llama.cpp"
SOURCES = {"f32": (figures.SMOLLM2, "F32"), "q4_0": ("f32", "Q4_0"), "q8_0": ("f32", "Q8_0"),
           "q4_0-f32": ("q4_0", "F32")}


def model(kind):
    """The path of one of SOURCES."""
    source, name = SOURCES[kind]
    path = FOLDER / f"smollm2-{kind}.gguf"
    if not path.exists():
        if source in SOURCES:
            source = model(source)
        FOLDER.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".part")
        # One type for all matrices: the embedding, which is the head too, would be Q6_K otherwise.
        subprocess.run([figures.llama_cpp_tool("avx512", "llama-quantize"), "--allow-requantize", "--pure",
                        source, unfinished, name], check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
        os.replace(unfinished, path)
    return path


def perplexity(model_path, *arguments, exact=True):
    """What llama-perplexity prints. `exact`: keys and values in f32, attention without its fused form."""
    flags = ["-ctk", "f32", "-ctv", "f32", "-fa", "off"] if exact else []
    done = subprocess.run([figures.llama_cpp_tool(), "-m", model_path, *flags, *map(str, arguments)],
                          check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.stdout.decode()

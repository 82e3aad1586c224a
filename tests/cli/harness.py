"""What the command-line tests share: starting the programs as users do, and models to give them.

The program is the environment's ONEBIT (tests/CMakeLists.txt sets it). A tiny random model is
written here, so that most tests need no data; those of real models skip where these are absent.
"""
import array
import atexit
import functools
import json
import os
import pathlib
import random
import struct
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
ONEBIT = pathlib.Path(os.environ.get("ONEBIT", ROOT / "build/dev/bin/onebit"))
TOOLKIT = ONEBIT.with_name("onebit-toolkit")
MODELS = ROOT / ".deps" / "models"
SMOLLM = MODELS / "smollm2-135m-instruct.gguf"
STORIES = MODELS / "stories260k.gguf"
STORIES_FOLDER = MODELS / "stories260k"


def needs(path: pathlib.Path):
    """Skips a test, saying what is missing, where real data is absent."""
    return unittest.skipUnless(path.exists(), f"absent: {path}")


class Result:
    def __init__(self, done: subprocess.CompletedProcess):
        self.code = done.returncode
        self.out_bytes = done.stdout or b""
        self.out = self.out_bytes.decode(errors="replace")
        self.err = (done.stderr or b"").decode(errors="replace")
        self.lines = self.out.splitlines()

    def json(self):
        """The one JSON object that --json promises: one line, nothing else on stdout."""
        assert self.out.count("\n") == 1 and self.out.endswith("\n"), self.out
        return json.loads(self.out)


class CliTest(unittest.TestCase):
    """A test with a folder of its own."""
    maxDiff = None

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="onebit-cli-")
        self.addCleanup(folder.cleanup)
        self.dir = pathlib.Path(folder.name)

    def write(self, name: str, text) -> pathlib.Path:
        path = self.dir / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def onebit(self, *args, expect=0, env=None, stdin=b"", **popen) -> Result:
        """Runs the program and checks its exit code. A failure (1, 2) must be exactly one line."""
        command = [str(ONEBIT), *map(str, args)]
        settings = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **popen}
        result = Result(subprocess.run(command, input=stdin, check=False, timeout=600,
                                       env={**os.environ, **(env or {})}, **settings))
        self.assertEqual(result.code, expect, f"{command}\n{result.out}\n{result.err}")
        if expect in (1, 2):
            self.assertRegex(result.err, r"\Aonebit: error: [^\n]+\n\Z")
        return result

    def fails(self, *args, says, expect=1, **more) -> Result:
        """A failure whose one line holds every one of `says`."""
        result = self.onebit(*args, expect=expect, **more)
        for part in [says] if isinstance(says, str) else says:
            self.assertIn(part, result.err)
        return result

    def files(self):
        """What lies in the test's folder, leftovers of a failed output included."""
        return sorted(path.name for path in self.dir.iterdir())


# A model of random weights, small enough to be written and run in an instant. Every size differs;
# dim and ffn are multiples of 32 but not of 64: packed rows have padding.
TINY = {"vocab": 260, "dim": 96, "layers": 2, "heads": 6, "kv_heads": 2, "head_dim": 16, "ffn": 160,
        "context": 128}
BOS, EOS, USER, ASSISTANT = 256, 257, 258, 259  # after the bytes
CHAT_TEMPLATE = ("{% for message in messages %}<|{{ message.role }}|>{{ message.content }}{% endfor %}"
                 "{% if add_generation_prompt %}<|assistant|>{% endif %}")


def byte_alphabet():
    """GPT-2's printable stand-in for every byte."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = (chr(256 + i) for i in range(256))
    return [chr(b) if b in printable else next(others) for b in range(256)]


def tiny_shapes(sizes):
    """Hugging Face's names and shapes; the head is tied to the embedding."""
    dim, ffn = sizes["dim"], sizes["ffn"]
    query, key = sizes["heads"] * sizes["head_dim"], sizes["kv_heads"] * sizes["head_dim"]
    yield "model.embed_tokens.weight", (sizes["vocab"], dim)
    for layer in range(sizes["layers"]):
        base = f"model.layers.{layer}."
        yield base + "input_layernorm.weight", (dim,)
        yield base + "self_attn.q_proj.weight", (query, dim)
        yield base + "self_attn.k_proj.weight", (key, dim)
        yield base + "self_attn.v_proj.weight", (key, dim)
        yield base + "self_attn.o_proj.weight", (dim, query)
        yield base + "post_attention_layernorm.weight", (dim,)
        yield base + "mlp.gate_proj.weight", (ffn, dim)
        yield base + "mlp.up_proj.weight", (ffn, dim)
        yield base + "mlp.down_proj.weight", (dim, ffn)
    yield "model.norm.weight", (dim,)


def write_tiny(folder: pathlib.Path, zero=False, seed=1, **changes):
    """A Hugging Face folder of a random Llama whose tokens are bytes. With `zero` all weights are 0:
    every token is then equally likely, so that perplexity is the vocabulary's size, exactly."""
    sizes = {**TINY, **changes}
    folder.mkdir()
    header, data = {}, bytearray()
    rng = random.Random(seed)
    for name, shape in tiny_shapes(sizes):
        count = shape[0] * (shape[1] if len(shape) == 2 else 1)
        spread = 0 if zero else (3 / shape[-1]) ** 0.5
        values = [1.0] * count if len(shape) == 1 else \
            [rng.uniform(-spread, spread) for _ in range(count)]
        begin = len(data)
        data += array.array("f", values).tobytes()
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, len(data)]}
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
    (folder / "config.json").write_text(json.dumps({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": sizes["vocab"],
        "hidden_size": sizes["dim"], "intermediate_size": sizes["ffn"],
        "num_hidden_layers": sizes["layers"], "num_attention_heads": sizes["heads"],
        "num_key_value_heads": sizes["kv_heads"], "head_dim": sizes["head_dim"],
        "hidden_act": "silu", "max_position_embeddings": sizes["context"], "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "tie_word_embeddings": True, "bos_token_id": BOS,
        "eos_token_id": EOS, "torch_dtype": "float32"}))
    specials = ["<|bos|>", "<|eos|>", "<|user|>", "<|assistant|>"]
    (folder / "tokenizer.json").write_text(json.dumps({
        "added_tokens": [{"id": 256 + i, "content": text, "special": True}
                         for i, text in enumerate(specials)],
        "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True},
        "post_processor": None,
        "model": {"type": "BPE", "merges": [],
                  "vocab": {text: i for i, text in enumerate(byte_alphabet())}}}))
    (folder / "tokenizer_config.json").write_text(json.dumps({
        "bos_token": "<|bos|>", "eos_token": "<|eos|>", "chat_template": CHAT_TEMPLATE}))


@functools.lru_cache
def shared_folder() -> pathlib.Path:
    """Lives as long as the test program."""
    folder = tempfile.TemporaryDirectory(prefix="onebit-cli-models-")
    atexit.register(folder.cleanup)
    return pathlib.Path(folder.name)


@functools.lru_cache
def tiny(name="tiny", **how) -> pathlib.Path:
    """write_tiny(), once a program."""
    write_tiny(shared_folder() / name, **how)
    return shared_folder() / name


@functools.lru_cache
def packed(source: pathlib.Path, *flags) -> pathlib.Path:
    """`source` made 1-bit by the program, once; needs the toolkit."""
    if not TOOLKIT.exists():
        raise unittest.SkipTest(f"absent: {TOOLKIT}")
    out = shared_folder() / f"packed-{len(list(shared_folder().iterdir()))}.gguf"
    subprocess.run([ONEBIT, "quantize", source, "-o", out, *flags], check=True, capture_output=True)
    return out

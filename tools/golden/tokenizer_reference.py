"""Mixed text in all scripts, and what the reference tokenizers make of it.

Shared by make_tokenizer.py (a few hundred lines as golden files) and ../accept/tokenizers.py (20,000
lines against the program). Needs: tokenizers, sentencepiece, tiktoken, gguf; the tokenizers of
../shared/data and .deps/models where present. The text is deterministic for a seed and a version of
Python's unicodedata: it uses characters assigned in that version only. Python 3.11 has Unicode 14,
as PCRE2 10.42 and utf8proc 2.8 do, so that every side knows every character. Only the tables behind
HF tokenizers' NFC are older (Unicode 9): a hundred younger combining marks, which it does not put in
order, are left out.
"""
import argparse
import ast
import base64
import inspect
import json
import lzma
import pathlib
import random
import sys
import unicodedata

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHARED = ROOT / ".." / "shared" / "data"
TOKENIZERS = SHARED / "tokenizers"
MODELS = ROOT / ".deps" / "models"
SMOLLM2 = MODELS / "smollm2-135m-instruct.gguf"
STORIES = MODELS / "stories260k" / "tokenizer.model"

LLAMA3_REGEX = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
                r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
LLAMA3_SPECIAL = (["<|begin_of_text|>", "<|end_of_text|>"]
                  + [f"<|reserved_special_token_{i}|>" for i in range(4)]
                  + ["<|start_header_id|>", "<|end_header_id|>", "<|reserved_special_token_4|>",
                     "<|eot_id|>"]
                  + [f"<|reserved_special_token_{i}|>" for i in range(5, 251)])
GPT2_SPECIAL = ["<s>", "</s>", "<unk>", "<pad>", "<mask>", "<|endoftext|>"]


def younger_marks():
    """Characters that HF tokenizers' NFC treats otherwise than Unicode 14 has it."""
    from tokenizers import normalizers
    hf = normalizers.NFC()

    def same(text):
        return hf.normalize_str(text) == unicodedata.normalize("NFC", text)

    # Beside marks of the least and the greatest class, and taken apart.
    return {c for c in map(chr, range(0x300, 0xE0000)) if not 0xD800 <= ord(c) < 0xE000 and not (
        same(unicodedata.normalize("NFD", c)) and (not unicodedata.combining(c) or (
            same("a\u0345" + c) and same("a" + c + "\u0334"))))}


def characters_by_script():
    """Assigned characters, grouped by the first word of their names: nearly their scripts."""
    groups = {}
    left_out = younger_marks()
    for code in range(0x20, 0x110000):
        c = chr(code)
        if unicodedata.category(c) in {"Cn", "Co", "Cs"} or c in left_out:
            continue
        name = unicodedata.name(c, "CONTROL")
        groups.setdefault(name.split(" ")[0].split("-")[0], []).append(c)
    return groups


SPACES = [chr(c) for c in [*range(9, 14), 0x1C, 0x1F, 0x20, 0x85, 0xA0, 0x1680, 0x180E,
                           *range(0x2000, 0x200C), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000, 0xFEFF]]
EMOJI = ["👍🏽", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪", "🇯🇵🇧🇷", "1️⃣", "❤️", "🧑🏿‍🚀", "🥲", "☺", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "😂" * 5, "©️", "🫠", "🤷🏻‍♀️"]
WORDS = """the of and model's don't we'll they've I'm she'd you're it's IT'S CAN'T rock'n'roll l'eau
weights quantised 1-bit LLM sign(W) x⊙g Größe naïve coöperate façade Ångström ﬁne ŉ straße İstanbul
ſharp 'ſ 'S 'LL 'Re ''s don’t мир слово 世界 你好 こんにちは カタカナ 한국어 नमस्ते สวัสดี שלום مرحبا გამარჯობა
a á à â ṩ q̣̇ Ǆ ﷺ e=mc² ½ Ⅷ ① x₁ 3.14 1,000,000 1e-5 0xFF $9.99 #tag @user a_b __init__ C++ ??? !!! --
http://example.org/?q=a&b=c user@mail.net <b>bold</b> </s> [INST] <0x0A> ▁ ▁▁x <unk> <mask>""".split()
CODE = ["for (int i = 0; i < n; ++i) {\n    sum += a[i];\n}\n",
        "def f(x):\n\treturn [y**2 for y in x if y != 0]  # squares\n",
        "SELECT * FROM t WHERE a >= 10 AND b LIKE '%x%';",
        "template <class T> auto g(T&& t) -> decltype(t.h());\r\n\r\n",
        "{\"key\": [1, 2.50, null, true], \"k\\\"2\": {}}", "if(a&&b||!c)?d:e;//...", "\\frac{a}{b}^{2}$$",
        "    " * 7 + "return;", "\t\t\t\tx = 1\n\n\n\n    y", "#!/bin/sh\nset -e; ls | wc -l >>out\n"]
SPECIAL = ["<|im_start|>", "<|im_end|>", "<|endoftext|>", "<s>", "<|eot_id|>", "<|begin_of_text|>",
           "<|padding|>", "|||IP_ADDRESS|||", "|||EMAIL_ADDRESS|||", "<|im_start", "|im_end|>"]


# What a Python string cannot hold: stray continuation bytes, overlong forms, surrogates, code points
# past U+10FFFF, characters cut short at the end, before a space and before another.
INVALID = [b"\x80", b"\xff\xfe\x00", b"a\xc3", b"a\xc3 b", b"\xc3\xc3\xa9", b"\xe2\x82", b"x\xe2\x82y",
           b"\xf0\x9f\x98", b"\xf0\x9f\x98\xf0\x9f\x98\x82", b"\xc0\xaf", b"\xe0\x80\xaf", b"\xed\xa0\x80",
           b"\xed\xb0\x80 z", b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80", b"caf\xe9 au lait", b" \xa0 \xa0",
           b"\x93quoted\x94", b"1\xff2\xff3", b"\xff" * 9, b"\xe4\xbd\xa0\xe5\xa5", b"\xef\xbb", b"don\x92t"]


def text_lines():
    """Lines of the shared data's prose and questions, none where it is absent."""
    lines = []
    for name in ["wikitext2/wiki.test.raw", "c4/c4_sample.jsonl"]:
        if (SHARED / name).exists():
            lines += (SHARED / name).read_text(encoding="utf-8").split("\n")
    for path in sorted((SHARED / "zeroshot").glob("*.jsonl")):
        lines += path.read_text(encoding="utf-8").split("\n")[:300]
    novels = SHARED / "corpus/eltec-eng.txt.xz"
    if novels.exists():
        with lzma.open(novels, "rt", encoding="utf-8") as stream:
            lines += [line for i, line in enumerate(stream) if i % 50 == 0]
    return [line[:400] for line in lines if line.strip()]


def source_lines():
    """Real code with its line breaks and indents: pieces of Python's own library."""
    pieces = []
    for module in [argparse, ast, inspect, json.decoder, lzma, pathlib, random]:
        code = inspect.getsource(module)
        pieces += [code[at:at + 300] for at in range(0, len(code), 300)]
    return pieces


def mixed_lines(count, seed=1, real=True):
    """`count` distinct texts; a "line" may hold line breaks."""
    rng = random.Random(seed)
    groups = characters_by_script()
    scripts = sorted(name for name, chars in groups.items() if len(chars) >= 4)
    every = [c for name in sorted(groups) for c in groups[name]]
    numbers = [c for c in every if unicodedata.category(c)[0] == "N"]
    marks = [c for c in every if unicodedata.combining(c)]
    jamo = [chr(c) for c in [*range(0x1100, 0x1113), *range(0x1161, 0x1176), *range(0x11A8, 0x11C3)]]
    controls = [chr(c) for c in [*range(0, 32), *range(127, 160), 0x200D, 0x200E, 0xAD, 0xFFFD, 0xFFFC]]
    text = text_lines() if real else []
    source = source_lines() if real else CODE

    def word(chars, low=1, high=9):
        return "".join(rng.choice(chars) for _ in range(rng.randint(low, high)))

    def script_line(i):
        chars = groups[scripts[i % len(scripts)]]
        if len(chars) > 60:
            at = rng.randrange(len(chars) - 50)
            chars = chars[at:at + 50]
        return rng.choice([" ", "  ", ", ", "-", ""]).join(word(chars) for _ in range(rng.randint(1, 8)))

    def mix_line(_):
        parts = []
        for _ in range(rng.randint(1, 14)):
            kind = rng.randrange(8)
            parts.append(rng.choice(WORDS) if kind < 4 else rng.choice(EMOJI) if kind == 4 else
                         word(numbers, 1, 5) if kind == 5 else word(groups[rng.choice(scripts)], 1, 4)
                         if kind == 6 else str(rng.randrange(10 ** rng.randint(1, 12))))
            parts.append(rng.choice([" ", " ", " ", "", "  ", "\n", ". ", "'"]))
        return "".join(parts)

    def space_line(_):
        return "".join(rng.choice([rng.choice(SPACES) * rng.randint(1, 40), word(SPACES, 1, 6),
                                   rng.choice(WORDS), " " * rng.randint(1, 70), "\n" * rng.randint(1, 5),
                                   "\r\n"]) for _ in range(rng.randint(1, 8)))

    def code_line(_):
        return "".join(rng.choice([rng.choice(CODE), word("(){}[]<>=+-*/%&|^~!?:;,.#@$\\\"'`_", 1, 6),
                                   rng.choice(WORDS), " " * rng.choice([1, 2, 4, 8, 12])])
                       for _ in range(rng.randint(1, 6)))

    def mark_line(_):
        return "".join(rng.choice("aeiouAEOnqsyÅüあक") + word(marks, 0, 3) if rng.random() < 0.6 else
                       word(jamo, 1, 4) + rng.choice(["", " "]) for _ in range(rng.randint(1, 12)))

    def any_line(_):
        return word(every, 1, 30)

    def number_line(_):
        return "".join(word(numbers if rng.random() < 0.5 else "0123456789", 1, 8) +
                       rng.choice(["", " ", ",", ".", "a", "²", " x"]) for _ in range(rng.randint(1, 8)))

    def control_line(_):
        return "".join(rng.choice([word(controls, 1, 4), rng.choice(WORDS), " "])
                       for _ in range(rng.randint(1, 8)))

    def special_line(_):
        return "".join(rng.choice([rng.choice(SPECIAL), rng.choice(WORDS), " ", "\n", word(every, 1, 3),
                                   " " * rng.randint(1, 30)]) for _ in range(rng.randint(1, 9)))

    def long_line(_):
        return rng.choice([rng.choice(every), rng.choice("aA .-=0\n"), rng.choice(WORDS)]) * rng.randint(
            20, 300)

    def real_line(_):
        return rng.choice(text) if text else mix_line(0)

    def source_line(_):
        return rng.choice(source)

    makers = [script_line, script_line, mix_line, mix_line, space_line, code_line, mark_line, any_line,
              number_line, control_line, special_line, long_line, source_line, real_line, real_line,
              real_line]
    lines = ["", " ", "\n", "a"]
    seen = set(lines)
    i = 0
    while len(lines) < count:
        line = makers[i % len(makers)](i // len(makers))
        i += 1
        if line not in seen:
            seen.add(line)
            lines.append(line)
    return lines[:count]


def without_space_symbol(text):
    """U+2581 stands for a space, so that the two cannot be told apart."""
    return text.replace("▁", " ")


def without_first_space(text):
    """Metaspace puts a space before a text that begins with none, so that "a" is encoded as " a"."""
    return without_space_symbol(text).removeprefix(" ")


class HfReference:
    """A tokenizers.Tokenizer, control tokens recognised or taken as text."""

    modes = ["plain", "special"]

    def __init__(self, tokenizer, normalize=None):
        self.tokenizer = tokenizer
        self.normalize = normalize or self.normalize_str

    def encode(self, text, parse_special=False):
        self.tokenizer.encode_special_tokens = not parse_special
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def normalize_str(self, text):
        """What decoding can give back at best."""
        normalizer = self.tokenizer.normalizer
        return text if normalizer is None else normalizer.normalize_str(text)


class SentencePieceReference:
    """The library itself. It takes bytes, too."""

    modes = ["plain", "invalid"]

    def __init__(self, model):
        import sentencepiece
        self.processor = sentencepiece.SentencePieceProcessor(model_proto=model)

    def encode(self, text, parse_special=False):
        assert not parse_special
        return self.processor.encode(text)

    def normalize(self, text):
        return without_space_symbol(text)


class TiktokenReference:
    modes = ["plain", "special"]

    def __init__(self, path):
        import tiktoken
        ranks = {}
        for line in path.read_bytes().splitlines():
            token, rank = line.split()
            ranks[base64.b64decode(token)] = int(rank)
        special = {text: len(ranks) + i for i, text in enumerate(LLAMA3_SPECIAL)}
        self.encoding = tiktoken.Encoding("llama3", pat_str=LLAMA3_REGEX, mergeable_ranks=ranks,
                                          special_tokens=special)

    def encode(self, text, parse_special=False):
        return self.encoding.encode(text, allowed_special="all" if parse_special else set(),
                                    disallowed_special=())

    def normalize(self, text):
        return text


def byte_level_bpe(vocab, merges, digits, special):
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, fuse_unk=False))
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.pre_tokenizer = byte_level if not digits else pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in special])
    return tokenizer


def smollm2(path=SMOLLM2):
    """As HuggingFaceTB/SmolLM2's tokenizer.json: BPE, digits one by one, byte level."""
    import gguf
    reader = gguf.GGUFReader(path)
    tokens = reader.fields["tokenizer.ggml.tokens"].contents()
    types = reader.fields["tokenizer.ggml.token_type"].contents()
    merges = [tuple(m.split(" ")) for m in reader.fields["tokenizer.ggml.merges"].contents()]
    return byte_level_bpe({t: i for i, t in enumerate(tokens)}, merges, True,
                          [t for t, kind in zip(tokens, types) if kind == 3])


def opt():
    folder = TOKENIZERS / "opt"
    vocab = json.loads((folder / "gpt2-vocab.json").read_text(encoding="utf-8"))
    merges = [tuple(line.split(" ")) for line in
              (folder / "gpt2-merges.txt").read_text(encoding="utf-8").split("\n")[1:] if line]
    return byte_level_bpe(vocab, merges, False, [t for t in GPT2_SPECIAL if t in vocab])


def llama2_json():
    """Llama 2's model as the tokenizer.json that Hugging Face publishes for it: BPE with byte
    fallback, whose merges are every way to put a piece together from two, best score first."""
    from sentencepiece import SentencePieceProcessor
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors
    processor = SentencePieceProcessor(model_file=str(TOKENIZERS / "llama2/tokenizer.model"))
    vocab = {processor.id_to_piece(i): i for i in range(len(processor))}
    merges = []
    for piece, i in vocab.items():
        splits = [(piece[:cut], piece[cut:]) for cut in range(1, len(piece))]
        splits = [s for s in splits if s[0] in vocab and s[1] in vocab]
        splits.sort(key=lambda s: (vocab[s[0]], vocab[s[1]]))
        merges += [(processor.get_score(i), s) for s in splits]
    merges.sort(key=lambda m: -m[0])
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[m[1] for m in merges], unk_token="<unk>",
                                     fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(),
                                           decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False)
                                  for t in ["<unk>", "<s>", "</s>"]])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)])
    return tokenizer


def llama3_json():
    """Llama 3's ranks as the tokenizer.json that Hugging Face publishes for it."""
    from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors)
    from transformers.convert_slow_tokenizer import TikTokenConverter
    vocab, merges = TikTokenConverter(
        vocab_file=str(TOKENIZERS / "llama3/tokenizer.model")).extract_vocab_merges_from_model(
            str(TOKENIZERS / "llama3/tokenizer.model"))
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, fuse_unk=False, ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(LLAMA3_REGEX), behavior="isolated", invert=False),
         pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False)
                                  for t in LLAMA3_SPECIAL])
    begin = tokenizer.token_to_id("<|begin_of_text|>")
    tokenizer.post_processor = processors.Sequence(
        [processors.ByteLevel(trim_offsets=False), processors.TemplateProcessing(
            single="<|begin_of_text|> $A", pair="<|begin_of_text|> $A <|begin_of_text|> $B",
            special_tokens=[("<|begin_of_text|>", begin)])])
    return tokenizer


def small_bytes(lines):
    """A tokenizer.json that takes every turn byte-level ones take, trained on `lines`: NFC, digits
    apart, tokens added before and after normalisation, BOS."""
    from tokenizers import (AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors,
                            trainers)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True),
         pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(lines, trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<s>", "</s>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.add_tokens([AddedToken("naïve", normalized=True), AddedToken("weights", normalized=True),
                          AddedToken("  ", normalized=False), AddedToken("    ", normalized=False)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))])
    return tokenizer


def small_split(lines):
    """The same with Llama 3's expression and pieces that need no merges."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(LLAMA3_REGEX), behavior="isolated", invert=False),
         pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(lines, trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<|eot_id|>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    return tokenizer


def small_metaspace(lines):
    """U+2581 for spaces, one before the text, and bytes for what has no piece, as newer conversions
    of Llama 2's kind have it."""
    # A byte's name is no piece of text, and the alphabet stays small.
    lines = ["".join(c for c in line if c.isascii() or c in "éß😂") for line in lines if "<0x" not in line]
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    trained.train_from_iterator(lines, trainers.BpeTrainer(vocab_size=250, show_progress=False))
    model = json.loads(trained.to_str())["model"]
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    tokens += [t for t in sorted(model["vocab"], key=model["vocab"].get) if t not in tokens]
    merges = [tuple(m if isinstance(m, list) else m.split(" ")) for m in model["merges"]]
    tokenizer = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=merges,
                                     unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(),
                                           decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False)
                                  for t in ["<unk>", "<s>", "</s>"]])
    return tokenizer


def warn(message):
    print(message, file=sys.stderr)

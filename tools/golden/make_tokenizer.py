#!/usr/bin/env python3
"""Makes tests/golden/tokenizer/: mixed text and the reference tokenizers' ids for it.

Needs: tokenizers 0.23, sentencepiece 0.2, tiktoken 0.14, transformers 5, gguf; ../shared/data and
.deps/models. Usage: make_tokenizer.py. The golden folder's text is all generated (real text is not
committed); ../accept/tokenizers.py calls make() for another folder with many more lines, and for
tokenizers too large to be committed.

text.json: "lines", and "invalid", byte strings in hexadecimal that are no UTF-8. <name>.json, a
tokenizer's ids for every `step`-th line: "plain", control tokens taken as text; "special", control
tokens recognised, only lines whose ids differ from plain; "invalid", by references that take bytes;
"normalized", only lines that the tokenizer's own normalisation changes.
"""
import importlib.metadata
import json
import pathlib

import tokenizer_reference as reference

GOLDEN = reference.ROOT / "tests" / "golden" / "tokenizer"
GOLDEN_LINES = 300
GOLDEN_IDS = 36  # at most, of a line


def versions():
    return {name: importlib.metadata.version(name)
            for name in ["tokenizers", "sentencepiece", "tiktoken", "transformers", "gguf"]}


def compact(value):
    return json.dumps(value, separators=(",", ":"))


def write(path, value):
    """One line of ids a line of text."""
    fields = []
    for key, item in value.items():
        if isinstance(item, list):
            fields.append(f"{json.dumps(key)}: [\n" + ",\n".join(map(compact, item)) + "]")
        elif key in {"special", "normalized"}:
            rows = ",\n".join(f"{json.dumps(str(i))}:{compact(row)}" for i, row in item.items())
            fields.append(f"{json.dumps(key)}: {{\n{rows}}}")
        else:
            fields.append(f"{json.dumps(key)}: {json.dumps(item)}")
    path.write_text("{" + ",\n".join(fields) + "}\n", encoding="utf-8")


class Maker:
    def __init__(self, folder, lines):
        self.folder = folder
        self.lines = lines
        self.provenance = {"script": "tools/golden/make_tokenizer.py", **versions()}
        folder.mkdir(parents=True, exist_ok=True)
        write(folder / "text.json", {"provenance": self.provenance, "lines": lines,
                                     "invalid": [text.hex() for text in reference.INVALID]})

    def save(self, name, source, tokenizer, step=1):
        lines = self.lines[::step]
        plain = [tokenizer.encode(line) for line in lines]
        ids = {"plain": plain}
        if "special" in tokenizer.modes:
            special = [tokenizer.encode(line, parse_special=True) for line in lines]
            ids["special"] = {i: row for i, row in enumerate(special) if row != plain[i]}
        if "invalid" in tokenizer.modes:
            ids["invalid"] = [tokenizer.encode(text) for text in reference.INVALID]
        normalized = [tokenizer.normalize(line) for line in lines]
        ids["normalized"] = {i: text for i, text in enumerate(normalized) if text != lines[i]}
        write(self.folder / f"{name}.json",
              {"provenance": {**self.provenance, "source": source}, "step": step, **ids})
        reference.warn(f"{name}: {len(lines)} lines")

    def save_json(self, name, source, tokenizer, step=1, normalize=None):
        """The tokenizer itself, too, as the tokenizer.json that it would be."""
        self.save(name, source, reference.HfReference(tokenizer, normalize), step)
        (self.folder / f"{name}.tokenizer.json").write_text(compact(json.loads(tokenizer.to_str())) + "\n",
                                                            encoding="utf-8")


def make(folder, lines, small_step):
    """Everything but the tokenizer.json files of large models, in `folder`."""
    maker = Maker(folder, lines)
    hf, spm = reference.HfReference, reference.SentencePieceReference
    training = [line for line in lines[:GOLDEN_LINES] if line.strip()]
    maker.save_json("small_bytes", "trained on the lines", reference.small_bytes(training), small_step)
    maker.save_json("small_split", "trained on the lines", reference.small_split(training), small_step)
    maker.save_json("small_metaspace", "trained on the lines", reference.small_metaspace(training),
                    small_step, reference.without_first_space)
    maker.save("smollm2", "SmolLM2-135M-Instruct's GGUF as an HF tokenizer", hf(reference.smollm2()))
    if reference.STORIES.exists():
        maker.save("stories260k", "stories260K's pieces, SentencePiece",
                   spm(reference.STORIES.read_bytes()), small_step)
    folder = reference.TOKENIZERS
    if folder.exists():
        from tokenizers import Tokenizer
        maker.save("gptneox", "GPT-NeoX's tokenizer.json, HF tokenizers",
                   hf(Tokenizer.from_file(str(folder / "gptneox/tokenizer.json"))))
        maker.save("opt", "OPT's vocabulary and merges as an HF tokenizer", hf(reference.opt()))
        maker.save("llama2", "Llama 2's tokenizer.model, SentencePiece",
                   spm((folder / "llama2/tokenizer.model").read_bytes()))
        maker.save("llama3", "Llama 3's tokenizer.model, tiktoken",
                   reference.TiktokenReference(folder / "llama3/tokenizer.model"))
    return maker


def short(line, tokenizer):
    """A line's beginning, of few ids: what is committed stays small."""
    while len(tokenizer.encode(line)) > GOLDEN_IDS:
        line = line[:len(line) * 3 // 4]
    return line


def main():
    smollm2 = reference.HfReference(reference.smollm2())
    lines = [short(line, smollm2)
             for line in reference.mixed_lines(GOLDEN_LINES, seed=2, real=False)]
    make(GOLDEN, list(dict.fromkeys(lines)), small_step=5)


if __name__ == "__main__":
    main()

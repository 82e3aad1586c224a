#!/usr/bin/env python3
"""Makes tests/golden/tokenizer/: mixed text and the reference tokenizers' ids for it.

Needs: tokenizers 0.23, sentencepiece 0.2, tiktoken 0.14, transformers 5, gguf; ../shared/data and
.deps/models. Usage: make_tokenizer.py [FOLDER [LINES]], by default the golden folder and 300 lines,
whose text is all generated (real text is not committed). With another folder, as
../accept_tokenizer.py calls it, also the tokenizers that the program shall read there.
"""
import importlib.metadata
import json
import pathlib
import sys

import tokenizer_reference as reference

GOLDEN = reference.ROOT / "tests" / "golden" / "tokenizer"


def versions():
    return {name: importlib.metadata.version(name)
            for name in ["tokenizers", "sentencepiece", "tiktoken", "transformers", "gguf"]}


def write(path, value):
    """One line of ids a line of text."""
    fields = []
    for key, item in value.items():
        if isinstance(item, list):
            rows = ",\n".join(json.dumps(row, separators=(",", ":")) for row in item)
            fields.append(f"{json.dumps(key)}: [\n{rows}]")
        else:
            fields.append(f"{json.dumps(key)}: {json.dumps(item)}")
    path.write_text("{" + ",\n".join(fields) + "}\n", encoding="utf-8")


def main():
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else GOLDEN
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 300
    whole = folder != GOLDEN
    folder.mkdir(parents=True, exist_ok=True)
    lines = reference.mixed_lines(count, seed=1 if whole else 2, real=whole)
    if not whole:
        lines = [line[:120] for line in lines]
    provenance = {"script": "tools/golden/make_tokenizer.py", "lines": count, **versions()}
    write(folder / "text.json", {"provenance": provenance, "lines": lines})

    def save(name, source, encode, modes):
        ids = {mode: [encode(line, mode == "special") for line in lines] for mode in modes}
        write(folder / f"{name}.json", {"provenance": {**provenance, "source": source}, **ids})
        reference.warn(f"{name}: {len(lines)} lines")

    def save_hf(name, source, tokenizer, file=None):
        save(name, source, reference.HfReference(tokenizer).encode, ["special", "plain"])
        if whole and file:
            tokenizer.save(str(folder / file))

    def save_sentencepiece(name, source, model):
        save(name, source, reference.SentencePieceReference(model).encode, ["plain"])

    if reference.SMOLLM2.exists():
        save_hf("smollm2", "SmolLM2-135M-Instruct's GGUF as an HF tokenizer", reference.smollm2(),
                "smollm2.tokenizer.json")
    if reference.TOKENIZERS.exists():
        from tokenizers import Tokenizer
        neox = reference.TOKENIZERS / "gptneox" / "tokenizer.json"
        save_hf("gptneox", "GPT-NeoX tokenizer.json", Tokenizer.from_file(str(neox)))
        save_hf("opt", "OPT's vocabulary and merges as an HF tokenizer", reference.opt())
        llama2 = (reference.TOKENIZERS / "llama2/tokenizer.model").read_bytes()
        save_sentencepiece("llama2", "Llama 2's tokenizer.model, SentencePiece", llama2)
        llama3 = reference.TiktokenReference(reference.TOKENIZERS / "llama3/tokenizer.model")
        save("llama3", "Llama 3's tokenizer.model, tiktoken", llama3.encode, ["special", "plain"])
        stories = reference.stories_model()
        (folder / "stories260k.model").write_bytes(stories)
        save_sentencepiece("stories260k", "stories260K's tok512.bin as a SentencePiece model", stories)
        if whole:
            save_hf("llama2_json", "Llama 2 as an HF tokenizer", reference.llama2_json(),
                    "llama2.tokenizer.json")
            save_hf("llama3_json", "Llama 3 as an HF tokenizer", reference.llama3_json(),
                    "llama3.tokenizer.json")


if __name__ == "__main__":
    main()

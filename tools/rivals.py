#!/usr/bin/env python3
"""Every method side by side on one model: makes each row of docs/results/rivals-MODEL.md and measures it.

Usage: rivals.py smollm2|stories260k [ROW…] [-l]   (all rows when none is named; -l lists them)

Needs the built program and the shared data (DATA, default ../shared/data). What is done stays in build/rivals/MODEL:
a step whose result is there is not done again, so that a run that was broken off goes on. Trained rows first try
their rates on SEARCH steps and take the one with the least held-out divergence; all see the same text, in the same
order, for the same number of tokens. The last line names the tables that `onebit compare` has written.
"""
import argparse
import json
import lzma
import os
import pathlib
import resource
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
ONEBIT = ROOT / os.environ.get("BUILD", "build/dev") / "bin/onebit"
DATA = pathlib.Path(os.environ.get("DATA", ROOT / "../shared/data"))
MODELS = ROOT / ".deps/models"
CHARACTERS = 4_000_000  # of the novels: text to calibrate and to train on
DOCUMENT = 8_000  # characters of a piece of them
SEED = ("-s", "0")

# Rates are tried in this order; the middle one is where the method's own default is, or near it.
TRAINED = {
    "llm-qat 2 bits": (("--method", "llm-qat", "--bits", "2", "--act-bits", "16", "--kv-bits", "16"), (1e-4, 3e-4, 1e-3)),
    "bitnet158 continued": (("--method", "bitnet158"), (3e-4, 1e-3, 3e-3)),
    "lowrank distilled": (("--method", "lowrank", "--bits", "1"), (3e-4, 1e-3, 3e-3)),
    "onebit, paper": (("--recipe", "paper", "--warmup", "{warmup}"), (2e-4, 4e-4, 1e-3)),
    "onebit, best": (("--recipe", "best"), (3e-3, 6e-3, 1.2e-2)),
}


def quantised(group):
    """Rows of what needs no training, groups of so many inputs."""
    rows = {"f16": ("f16",), "int8": ("int8",)}
    for bits in (4, 3):
        rows |= {f"{method} {bits} bits": (method, "--bits", str(bits)) for method in ("rtn", "gptq")}
    for name, flags in (("", ()), (", groups", ("--group-size", str(group)))):
        for method in ("rtn", "gptq", "omniquant"):
            rows[f"{method} 2 bits{name}"] = (method, "--bits", "2", *flags)
    return rows | {"billm": ("billm",), "arb": ("arb",), "lowrank, by inputs": ("lowrank", "--bits", "1"),
                   "onebit, start": ("onebit",)}


CALIBRATED = ("gptq", "omniquant", "arb", "billm", "lowrank")
SETTINGS = {
    "smollm2": {
        "source": MODELS / "smollm2-135m-instruct.gguf",
        "quantised": quantised(64),
        "calib": ("--samples", "64", "--length", "512"),
        "train": {"steps": 180, "search": 45, "batch": 4, "length": 256},
        "wiki": ("-c", "2048"), "c4": ("-c", "2048"),
        "tasks": True},
    "stories260k": {
        "source": MODELS / "stories260k.gguf",
        "quantised": quantised(32),
        "calib": ("--samples", "64", "--length", "256"),
        "train": {"steps": 1500, "search": 300, "batch": 8, "length": 128},
        "wiki": None, "c4": None,
        "tasks": False},
}


def run(command, out=None):
    """Wall time and peak memory of the command and what it starts; its standard output goes to `out` when it is done."""
    print("$", " ".join(map(str, command)), file=sys.stderr, flush=True)
    begin = time.monotonic()
    with subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE) as process:
        output = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"rivals.py: exit status {process.returncode} of {command[0]} {command[1]}")
    if out:
        write(out, output)
    return {"command": [str(word) for word in command], "seconds": time.monotonic() - begin,
            "peak_bytes": used.ru_maxrss * 1024}


def write(path, content):
    part = path.with_name(path.name + ".tmp")
    part.write_bytes(content)
    part.replace(path)


def save(path, value):
    write(path, (json.dumps(value, indent=1) + "\n").encode())


class Rivals:
    def __init__(self, name):
        self.settings = SETTINGS[name]
        self.source = self.settings["source"]
        self.folder = ROOT / "build/rivals" / name
        self.folder.mkdir(parents=True, exist_ok=True)
        self.text = self.folder / "text.jsonl"
        if not self.text.exists():
            if name == "stories260k":  # prose that the model knows: its own
                run((ONEBIT, "synth", self.source, "-o", self.text, "--samples", "4000", "--length", "256", *SEED))
            else:
                with lzma.open(DATA / "corpus/eltec-eng.txt.xz", "rt") as file:
                    text = file.read(CHARACTERS)
                rows = [json.dumps({"text": text[i:i + DOCUMENT]}) for i in range(0, len(text), DOCUMENT)]
                write(self.text, ("\n".join(rows) + "\n").encode())

    def rows(self):
        return [*self.settings["quantised"], *TRAINED]

    def make(self, row):
        folder = self.folder / row.replace(",", "").replace(" ", "-")
        folder.mkdir(exist_ok=True)
        model, made = folder / "model.gguf", folder / "made.json"
        if not made.exists():
            if row in TRAINED:
                save(made, self.train(row, folder, model))
            else:
                method, *flags = self.settings["quantised"][row]
                calib = ("--calib", self.text, *self.settings["calib"]) if method in CALIBRATED else ()
                facts = run((ONEBIT, "quantize", self.source, "-o", model, "--method", method, *flags, *calib, *SEED,
                             "--json"), folder / "quantize.json")
                save(made, facts)
        return folder, model

    def distill(self, row, folder, steps, rate):
        flags, _ = TRAINED[row]
        t = self.settings["train"]
        words = [word.format(warmup=steps // 20) for word in flags]
        return run((ONEBIT, "distill", self.source, "-o", folder, "--data", self.text, "--steps", steps, "--batch",
                    t["batch"], "--length", t["length"], "--lr", rate, "--held-out", "0.02", *words, *SEED,
                    "--eval-every", "0", "--json"), folder.with_suffix(".json"))

    def train(self, row, folder, model):
        search = {}
        for rate in TRAINED[row][1]:
            trial = folder / f"rate-{rate:g}"
            if not trial.with_suffix(".json").exists():
                if trial.exists():
                    subprocess.run(["rm", "-r", trial], check=True)
                self.distill(row, trial, self.settings["train"]["search"], rate)
            search[rate] = json.loads(trial.with_suffix(".json").read_text())["end"]["kl"]
        rate = min(search, key=search.get)
        whole = folder / "run"
        if whole.exists():
            subprocess.run(["rm", "-r", whole], check=True)
        facts = self.distill(row, whole, self.settings["train"]["steps"], rate)
        (whole / "model.gguf").replace(model)
        return facts | {"search": search, "rate": rate}

    def measure(self, row):
        folder, model = self.make(row)

        def once(name, *command):
            if not (folder / name).exists():
                run(command, folder / name)

        if self.settings["wiki"]:
            once("wiki.json", ONEBIT, "perplexity", model, "-f", DATA / "wikitext2/wiki.test.raw", *self.settings["wiki"],
                 "--kl-teacher", self.source, "--kl-base", self.folder / "wiki.base", "--json")
            once("c4.json", ONEBIT, "perplexity", model, "-f", DATA / "c4/c4_sample.jsonl", *self.settings["c4"], "--json")
        else:
            held_out = self.folder / "held_out.txt"
            if not held_out.exists():
                rows = self.folder / "held_out.jsonl"
                run((ONEBIT, "synth", self.source, "-o", rows, "--samples", "200", "--length", "256", "-s", "1"))
                write(held_out, "\n".join(json.loads(line)["text"] for line in rows.read_text().splitlines()).encode())
            once("stories.json", ONEBIT, "perplexity", model, "-f", held_out, "-c", "256", "--kl-teacher", self.source,
                 "--json")
        if self.settings["tasks"]:
            for tasks, limit in (("hellaswag", ("--limit", "2000")), ("winogrande,piqa,boolq,arc_easy,arc_challenge", ())):
                out = folder / f"tasks-{'limited' if limit else 'whole'}.json"
                if not out.exists():
                    run((ONEBIT, "eval", model, "--tasks", tasks, "--data", DATA / "zeroshot", *limit, "-o", out))
        once("bench.json", ONEBIT, "bench", model, "-t", "2", "-o", "json")

    def table(self, rows):
        inputs = []
        for row in rows:
            folder = self.folder / row.replace(",", "").replace(" ", "-")
            files = [f for f in sorted(folder.glob("*.json")) if f.name in
                     ("wiki.json", "c4.json", "stories.json", "tasks-limited.json", "tasks-whole.json", "bench.json",
                      "quantize.json")]
            for file in files:
                inputs += [file, f"--label={file}={row}"]
        out = self.folder / "report"
        run((ONEBIT, "compare", *inputs, "-o", out.with_suffix(".html"), "--markdown", out.with_suffix(".md"), "--csv",
             out))
        lines = ["| method | quantised or trained in, s | peak memory, GiB | rates tried (held-out KL) |",
                 "|---|---:|---:|---|"]
        for row in rows:
            made = json.loads((self.folder / row.replace(",", "").replace(" ", "-") / "made.json").read_text())
            search = ", ".join(f"{float(rate):g} ({kl:.3f})" for rate, kl in made.get("search", {}).items())
            lines.append(f"| {row} | {made['seconds']:.0f} | {made['peak_bytes'] / 2**30:.2f} | {search} |")
        write(self.folder / "made.md", ("\n".join(lines) + "\n").encode())
        print(out.with_suffix(".md"), self.folder / "made.md")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", choices=SETTINGS)
    parser.add_argument("row", nargs="*")
    parser.add_argument("-l", "--list", action="store_true")
    arguments = parser.parse_args()
    rivals = Rivals(arguments.model)
    if arguments.list:
        print("\n".join(rivals.rows()))
        return
    rows = arguments.row or rivals.rows()
    if unknown := set(rows) - set(rivals.rows()):
        sys.exit(f"rivals.py: found the row '{unknown.pop()}', expected one of those that -l lists")
    for row in rows:
        rivals.measure(row)
    rivals.table(rows)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main()

#!/usr/bin/env python3
"""Every method side by side on one model: makes each row of docs/results/rivals-MODEL.md and measures it.

Usage: rivals.py smollm2|stories260k [ROW…] [-l] [--speed] [--record FILE]   (all rows when none is named; -l lists them)

Needs the built program and the shared data (DATA, default ../shared/data). What is done stays in build/rivals/MODEL:
a step whose result is there is not done again, so that a run that was broken off goes on. Results are added to the record
(rivals_record.py), and those that it has are not measured again anywhere. Trained rows first try their rates on SEARCH
steps and take the one with the least held-out divergence; all see the same text, in the same order, for the same
number of tokens, but those named "as long" for the same time, and those named "4 x tokens" on more text. The last
line names the tables of all rows that are whole, those of `onebit compare` (report.html, its CSV files) among them.
"""
import argparse
import json
import os
import pathlib
import resource
import subprocess
import sys
import time

import rivals_record
import rivals_table

ROOT = pathlib.Path(__file__).resolve().parents[1]
ONEBIT = ROOT / os.environ.get("BUILD", "build/dev") / "bin/onebit"
DATA = pathlib.Path(os.environ.get("DATA", ROOT / "../shared/data"))
MODELS = ROOT / ".deps/models"
SEED = ("-s", "0")

# Rates to try; the middle one is where the method's own default is, or near it.
TRAINED = {
    "llm-qat 2 bits": (("--method", "llm-qat", "--bits", "2", "--act-bits", "16", "--kv-bits", "16"), (1e-4, 3e-4, 1e-3)),
    "bitnet continued": (("--method", "bitnet"), (3e-4, 1e-3, 3e-3)),
    "bitnet158 continued": (("--method", "bitnet158"), (3e-4, 1e-3, 3e-3)),
    "lowrank distilled": (("--method", "lowrank", "--bits", "1"), (3e-4, 1e-3, 3e-3)),
    "onebit, paper": (("--recipe", "paper", "--warmup", "{warmup}"), (2e-4, 4e-4, 1e-3)),
    "onebit, best": (("--recipe", "best"), (3e-3, 6e-3, 1.2e-2)),
}

# Rows of the same method with as many steps as take as long as those of rivals_table.BEST, and with more tokens.
AS_LONG = ", as long"
FOUR_TIMES = ", 4 x tokens"

# The same file by both engines, on a part of the text.
ENGINES = {"engine-runtime.json": ("--activations", "f32"), "engine-torch.json": ("--engine", "torch")}

SPEED = "speed.json"
MOST_RATES, STEP_OF_RATES = 6, 3
TURNS = 5


def quantised(group):
    """Rows of what needs no training, groups of so many inputs."""
    rows = {"f16": ("f16",), "int8": ("int8",)}
    for bits in (4, 3):
        rows |= {f"{method} {bits} bits": (method, "--bits", str(bits)) for method in ("rtn", "gptq")}
    for name, flags in (("", ()), (", groups", ("--group-size", str(group)))):
        for method in ("rtn", "gptq", "omniquant"):
            rows[f"{method} 2 bits{name}"] = (method, "--bits", "2", *flags)
    return rows | {"billm": ("billm",), "arb": ("arb",), "arb, plain": ("arb", "--refine", "plain"),
                   "arb, inputs": ("arb", "--refine", "inputs"), "lowrank, by inputs": ("lowrank", "--bits", "1"),
                   "onebit, start": ("onebit",)}


# Rows of WikiText-2 alone: they are there for the order of methods.
ORDER_ALONE = ("int8", "rtn 4 bits", "gptq 4 bits", "rtn 3 bits", "gptq 3 bits", "arb, plain", "arb, inputs",
               "lowrank, by inputs", "onebit, start")
CALIBRATED = ("gptq", "omniquant", "arb", "billm", "lowrank")
SETTINGS = {
    "smollm2": {
        "source": MODELS / "smollm2-135m-instruct.gguf",
        "quantised": quantised(64),
        "calib": ("--samples", "64", "--length", "512"),
        "text": ("--samples", "600", "--length", "512"),
        "text of 4 x tokens": ("--samples", "1600", "--length", "512"),
        "trained": [*(row for row in TRAINED if row != "bitnet continued"), rivals_table.BEST + FOUR_TIMES],
        "train": {"steps": 180, "search": 45, "batch": 4, "length": 256, "held_out": 0.05},
        "engines": ("-c", "512", "--max-windows", "16"),
        "tasks": True},
    "stories260k": {
        "source": MODELS / "stories260k.gguf",
        "quantised": quantised(32),
        "calib": ("--samples", "64", "--length", "256"),
        "text": ("--samples", "4000", "--length", "256"),
        "trained": [*TRAINED, *(row + AS_LONG for row in TRAINED if row != rivals_table.BEST)],
        "train": {"steps": 1500, "search": 300, "batch": 8, "length": 128, "held_out": 0.02},
        "engines": ("-c", "256", "--max-windows", "100"),
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


def folder_name(row):
    return row.replace(",", "").replace(" ", "-")


def results_of(folder):
    return folder.with_name(folder.name + ".json")  # a rate has a dot in it


class Rivals:
    def __init__(self, name, record=None):
        self.settings = SETTINGS[name]
        self.record = record or ROOT / f"docs/results/rivals-{name}.json"
        self.source = self.settings["source"]
        self.folder = ROOT / "build/rivals" / name
        self.folder.mkdir(parents=True, exist_ok=True)
        self.text = self.own_text("text")
        self.held_out = self.folder / "held_out.txt"
        if not self.settings["tasks"] and not self.held_out.exists():
            rows = self.folder / "held_out.jsonl"
            run((ONEBIT, "synth", self.source, "-o", rows, "--samples", "200", "--length", "256", "-s", "1"))
            write(self.held_out, "\n".join(json.loads(line)["text"] for line in rows.read_text().splitlines()).encode())
        for row, entry in rivals_record.load(self.record).items():
            rivals_record.restore(entry, self.folder_of(row))

    def own_text(self, name):
        """What the model itself writes: text of every kind that it knows. `name` is of the settings and of the file."""
        text = self.folder / f"{name.replace(' ', '-')}.jsonl"
        if not text.exists():
            run((ONEBIT, "synth", self.source, "-o", text, *self.settings[name], *SEED))
        return text

    def rows(self):
        return [*self.settings["quantised"], *self.settings["trained"]]

    def folder_of(self, row):
        return self.folder / folder_name(row)

    def make(self, row):
        """The row's model, where it is missing; what it took, and the rates that were tried, stay those of the first time."""
        folder, model, made = self.folder_of(row), self.model_of(row), self.folder_of(row) / "made.json"
        folder.mkdir(exist_ok=True)
        known = json.loads(made.read_text()) if made.exists() else {}
        if known and model.exists():
            return
        if row.endswith(AS_LONG):
            facts = self.train_as_long(row.removesuffix(AS_LONG), folder, model)
        elif row.endswith(FOUR_TIMES):
            facts = self.train_on_more(row.removesuffix(FOUR_TIMES), folder, model)
        elif row in TRAINED:
            facts = self.train(row, folder, model, known.get("search"))
        else:
            method, *flags = self.settings["quantised"][row]
            calib = ("--calib", self.text, *self.settings["calib"]) if method in CALIBRATED else ()
            facts = run((ONEBIT, "quantize", self.source, "-o", model, "--method", method, *flags, *calib,
                         *(("--restart",) if calib else ()), *SEED, "--json"), folder / "quantize.json")
        if not known:
            save(made, facts)
            self.keep(row)

    def distill(self, row, folder, steps, rate, text=None):
        flags, _ = TRAINED[row]
        t = self.settings["train"]
        words = [word.format(warmup=steps // 20) for word in flags]
        if row == rivals_table.BEST:  # its block-wise stage takes 48 sequences
            steps -= 48 // t["batch"]
        return run((ONEBIT, "distill", self.source, "-o", folder, "--data", text or self.text, "--steps", steps,
                    "--batch", t["batch"], "--length", t["length"], "--lr", rate, "--held-out", t["held_out"], *words, *SEED,
                    "--eval-every", "0", "--json"), results_of(folder))

    def search(self, row, folder):
        """Held-out divergence by rate: of those given and, while the best is at an end of them, of one beyond it."""
        rates, found = list(TRAINED[row][1]), {}
        for rate in rates:  # grows on the way
            trial = folder / f"rate-{rate:g}"
            if not results_of(trial).exists():
                if trial.exists():
                    subprocess.run(["rm", "-r", trial], check=True)
                self.distill(row, trial, self.settings["train"]["search"], rate)
            found[rate] = json.loads(results_of(trial).read_text())["end"]["kl"]
            if rate == rates[-1] and len(rates) < MOST_RATES:
                low, high = min(found), max(found)
                best = min(found, key=found.get)
                if best in (low, high):
                    rates.append(float(f"{best * STEP_OF_RATES if best == high else best / STEP_OF_RATES:.2g}"))
        return dict(sorted(found.items()))

    def train(self, row, folder, model, search):
        search = search or self.search(row, folder)
        rate = float(min(search, key=search.get))
        return self.train_whole(row, folder, model, self.settings["train"]["steps"], rate) | {"search": search}

    def train_as_long(self, row, folder, model):
        """Its rate with more steps: as many as the time of the best row pays for."""
        own, best = (self.made(other) for other in (row, rivals_table.BEST))
        steps = round(self.settings["train"]["steps"] * best["seconds"] / own["seconds"])
        return self.train_whole(row, folder, model, steps, own["rate"])

    def train_on_more(self, row, folder, model):
        """Its rate with four times the steps, on text that has so much."""
        return self.train_whole(row, folder, model, 4 * self.settings["train"]["steps"], self.made(row)["rate"],
                                self.own_text("text of 4 x tokens"))

    def made(self, row):
        """What it took to make the row: made now where nothing is known of it."""
        if not (self.folder_of(row) / "made.json").exists():
            self.make(row)
        return json.loads((self.folder_of(row) / "made.json").read_text())

    def train_whole(self, row, folder, model, steps, rate, text=None):
        whole = folder / "run"
        if whole.exists():
            subprocess.run(["rm", "-r", whole], check=True)
        facts = self.distill(row, whole, steps, rate, text)
        (whole / "model.gguf").replace(model)
        return facts | {"rate": rate, "steps": steps}

    def model_of(self, row):
        return self.folder_of(row) / "model.gguf"

    def test_text(self):
        return DATA / "wikitext2/wiki.test.raw" if self.settings["tasks"] else self.held_out

    def engines(self, row):
        return {name: (ONEBIT, "perplexity", self.model_of(row), "-f", self.test_text(), *self.settings["engines"], *flags,
                       "--json") for name, flags in ENGINES.items()}

    def measurements(self, row):
        """The command for each file of results; those of tasks write theirs by themselves."""
        folder, model = self.folder_of(row), self.model_of(row)
        if not self.settings["tasks"]:
            return {"stories.json": (ONEBIT, "perplexity", model, "-f", self.test_text(), "-c", "256",
                                     "--kl-teacher", self.source, "--json")} | self.engines(row)
        found = {"wiki.json": (ONEBIT, "perplexity", model, "-f", self.test_text(), "-c", "2048",
                               "--kl-teacher", self.source, "--kl-base", self.folder / "wiki.base", "--json")}
        found |= self.engines(row)
        if row not in ORDER_ALONE:
            found["c4.json"] = (ONEBIT, "perplexity", model, "-f", DATA / "c4/c4_sample.jsonl", "-c", "2048", "--json")
            for name, tasks in (("limited", ("hellaswag", "--limit", "2000")),
                                ("whole", ("winogrande,piqa,boolq,arc_easy,arc_challenge",))):
                file = f"tasks-{name}.json"
                found[file] = (ONEBIT, "eval", model, "--data", DATA / "zeroshot", "-o", folder / file, "--tasks", *tasks)
        return found

    def measure(self, row):
        if not self.is_measured(row):
            self.make(row)
            for name, command in self.measurements(row).items():
                file = self.folder_of(row) / name
                if not file.exists():
                    run(command, None if "-o" in command else file)
                    self.keep(row)

    def is_measured(self, row):
        return all((self.folder_of(row) / name).exists() for name in ("made.json", *self.measurements(row)))

    def measured(self):
        return [row for row in self.rows() if self.is_measured(row)]

    def time(self, row):
        """Speeds of the row and of the first, in turns, so that what else the machine does is shared between them."""
        file = self.folder_of(row) / SPEED
        if file.exists():
            return
        pair = {"of": row, "base": self.rows()[0]}
        for which in pair.values():
            self.make(which)
        turns = {name: [] for name in pair}  # tokens a second by test
        for _ in range(TURNS):
            for name, which in pair.items():
                out = self.folder / "speed.json"
                run((ONEBIT, "bench", self.model_of(which), "-t", "2", "-r", "1", "-o", "json"), out)
                turns[name].append({test["test"]: test["tokens_per_second"] for test in json.loads(out.read_text())["results"]})
        save(file, turns)

    def keep(self, row):
        rivals_record.add(self.record, row, self.folder_of(row), ("made.json", *self.measurements(row), SPEED))

    def compare(self, rows, base, out):
        inputs = []
        for row in rows:
            for file in (self.folder_of(row) / name for name in (*self.measurements(row), "quantize.json")):
                if file.exists() and file.name not in ENGINES:
                    inputs += [file, f"--label={file}={row}"]
        run((ONEBIT, "compare", *inputs, "--base", base, "-o", out.with_suffix(".html"), "--csv", out))

    def tables(self):
        """Of the rows that are measured, whichever this run was asked for."""
        rows = self.measured()
        report, report_of_best = self.folder / "report", self.folder / "report-of-best"
        self.compare(rows, rows[0], report)
        if rivals_table.BEST in rows:
            self.compare(rows, rivals_table.BEST, report_of_best)
        out = self.folder / "tables.md"
        write(out, "\n".join((rivals_table.quality(rows, self.folder_of, report, report_of_best),
                              rivals_table.cost(rows, self.folder_of))).encode())
        print(report.with_suffix(".html"), out)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", choices=SETTINGS)
    parser.add_argument("row", nargs="*")
    parser.add_argument("-l", "--list", action="store_true")
    parser.add_argument("--speed", action="store_true", help="time each row, too, in turns with the first")
    parser.add_argument("--record", type=pathlib.Path, help="default: docs/results/rivals-MODEL.json")
    arguments = parser.parse_args()
    rivals = Rivals(arguments.model, arguments.record)
    if arguments.list:
        print("\n".join(rivals.rows()))
        return
    rows = arguments.row or rivals.rows()
    if unknown := set(rows) - set(rivals.rows()):
        sys.exit(f"rivals.py: found the row '{unknown.pop()}', expected one of those that -l lists")
    for row in rows:
        rivals.measure(row)
        if arguments.speed:
            rivals.time(row)
        rivals.keep(row)
    rivals.tables()


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main()

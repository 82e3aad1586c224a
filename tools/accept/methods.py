#!/usr/bin/env python3
"""The packed files of all methods: both engines, and what papers report of the methods' order.

Usage: methods.py   (needs the models that tools/rivals.py makes, or its records of them)

For each: the packed runtime's perplexity, activations as the file says and otherwise exact, from libtorch's on the
same windows: WikiText-2's test split for SmolLM2, its own stories for stories260K; for a model that is not in
build/rivals, the record's. Files whose activations have few
levels are made here and have a wider bound: what lies between two levels falls to either side, on two engines as on
two instruction sets, and all that follows with it; the difference of two sets stands beside it. Orders are of the
perplexities that rivals.py has measured.
"""
import json
import pathlib
import shutil
import sys

sys.path.extend(map(str, pathlib.Path(__file__).parents[:2]))
import figures  # noqa: E402
import rivals  # noqa: E402

PERCENT = 0.1
FEW_LEVELS_PERCENT = 0.5
INT8_PERCENT = 0.5
RIVALS = figures.ROOT / "build/rivals"
RESULTS = {"smollm2": "wiki.json", "stories260k": "stories.json"}
ORDERS = (("gptq-3-bits", "rtn-3-bits"), ("gptq-4-bits", "rtn-4-bits"), ("omniquant-2-bits", "gptq-2-bits"),
          ("omniquant-2-bits-groups", "gptq-2-bits-groups"))


def check_engines(report, name, made):
    for row in made.rows():
        commands = made.engines(row)
        files = [made.folder_of(row) / file for file in commands]
        point = f"{name}, {row}: runtime from libtorch"
        if made.model_of(row).exists():
            runtime, torch = (figures.run_json(*command[1:-1])["ppl"] for command in commands.values())
        elif all(file.exists() for file in files):
            runtime, torch = (json.loads(file.read_text())["ppl"] for file in files)
            point += " (record)"
        else:
            report.check(point, "not made", f"tools/rivals.py {name}", False)
            continue
        percent = 100 * (runtime / torch - 1)
        report.check(point, f"{percent:+.4f} %", f"within {PERCENT} %", abs(percent) <= PERCENT)


def check_few_levels(report, stories):
    """Four bits of activations, keys or values."""
    source, folder = stories.source, stories.folder
    calib = ("--samples", 16, "--length", 128)
    out = RIVALS / "few-levels"
    made = {"llm-qat, keys and values of 4 bits": ("distill", source, "-o", out, "--data", folder / "text.jsonl", "--method",
                                                   "llm-qat", "--steps", 30, "--lr", 1e-3),
            "omniquant, activations of 4 bits": ("quantize", source, "-o", out / "model.gguf", "--method", "omniquant",
                                                 "--act-bits", 4, "--epochs", 1, "--calib", folder / "text.jsonl", *calib)}
    text, flags = stories.test_text(), stories.settings["engines"]
    for name, command in made.items():
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        figures.run_json(*command)

        def perplexity(*engine, **environment):
            return figures.run_json("perplexity", out / "model.gguf", "-f", text, *flags, *engine, **environment)["ppl"]

        torch, runtime = perplexity("--engine", "torch"), perplexity("--activations", "f32")
        percent = 100 * (runtime / torch - 1)
        report.check(f"stories260k, {name}: runtime from libtorch", f"{percent:+.3f} %",
                     f"within {FEW_LEVELS_PERCENT} %", abs(percent) <= FEW_LEVELS_PERCENT)
        scalar = perplexity("--activations", "f32", ONEBIT_ISA="scalar")
        report.note(f"stories260k, {name}: scalar kernels from these", f"{100 * (scalar / runtime - 1):+.3f} %", "measured")


def check_orders(report, name, file):
    def perplexity(row):
        return json.loads((RIVALS / name / row / file).read_text())["ppl"]

    def has(*rows):
        return all((RIVALS / name / row / file).exists() for row in rows)

    for better, worse in ORDERS:
        if not has(better, worse):
            report.check(f"{name}: {better} below {worse}", "not measured", "both rows", False)
        else:
            report.check(f"{name}: {better} below {worse}", f"{perplexity(better):.3f}", f"< {perplexity(worse):.3f}",
                         perplexity(better) < perplexity(worse))
    if not has("int8", "f16"):
        report.check(f"{name}: int8 by rows from f16", "not measured", "both rows", False)
    else:
        percent = 100 * (perplexity("int8") / perplexity("f16") - 1)
        report.check(f"{name}: int8 by rows from f16", f"{percent:+.4f} %", f"within {INT8_PERCENT} %",
                     abs(percent) <= INT8_PERCENT)


def main():
    report = figures.Report("methods")
    made = {name: rivals.Rivals(name) for name in RESULTS}
    for name, file in RESULTS.items():
        check_engines(report, name, made[name])
        check_orders(report, name, file)
    check_few_levels(report, made["stories260k"])
    sys.exit(report.exit_status())


if __name__ == "__main__":
    main()

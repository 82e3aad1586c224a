#!/usr/bin/env python3
"""The packed files of all methods: both engines, and what papers report of the methods' order.

Usage: methods.py   (needs the models that tools/rivals.py has made: build/rivals)

For each: the packed runtime's perplexity, activations as the file says and otherwise exact, from libtorch's on the
same windows: WikiText-2's test split for SmolLM2, its own stories for stories260K. Files whose activations have few
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
TEXTS = {"smollm2": (figures.WIKITEXT, "wiki.json", ("-c", 512, "--max-windows", 16)),
         "stories260k": (RIVALS / "stories260k/held_out.txt", "stories.json", ("-c", 256, "--max-windows", 100))}
ORDERS = (("gptq-3-bits", "rtn-3-bits"), ("gptq-4-bits", "rtn-4-bits"), ("omniquant-2-bits", "gptq-2-bits"),
          ("omniquant-2-bits-groups", "gptq-2-bits-groups"))


def check_engines(report, name, text, flags):
    settings = rivals.SETTINGS[name]
    for row in (*settings["quantised"], *settings["trained"]):
        model = RIVALS / name / rivals.folder_name(row) / "model.gguf"
        if not model.exists():
            report.check(f"{name}, {row}: runtime from libtorch", "not made", f"tools/rivals.py {name}", False)
            continue

        def perplexity(*engine, model=model):
            return figures.run_json("perplexity", model, "-f", text, *flags, *engine)["ppl"]

        torch = perplexity("--engine", "torch")
        percent = 100 * (perplexity("--activations", "f32") / torch - 1)
        report.check(f"{name}, {row}: runtime from libtorch", f"{percent:+.4f} %",
                     f"within {PERCENT} %", abs(percent) <= PERCENT)


def check_few_levels(report):
    """Four bits of activations, keys or values."""
    source, folder = figures.ROOT / ".deps/models/stories260k.gguf", RIVALS / "stories260k"
    calib = ("--samples", 16, "--length", 128)
    out = RIVALS / "few-levels"
    made = {"llm-qat, keys and values of 4 bits": ("distill", source, "-o", out, "--data", folder / "text.jsonl", "--method",
                                                   "llm-qat", "--steps", 30, "--lr", 1e-3),
            "omniquant, activations of 4 bits": ("quantize", source, "-o", out / "model.gguf", "--method", "omniquant",
                                                 "--act-bits", 4, "--epochs", 1, "--calib", folder / "text.jsonl", *calib)}
    text, _, flags = TEXTS["stories260k"]
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
    made = [name for name in TEXTS if (RIVALS / name).exists()]
    if not made:
        sys.exit(f"methods: {RIVALS}: found no models, expected those that tools/rivals.py makes")
    for name in made:
        text, file, flags = TEXTS[name]
        check_engines(report, name, text, flags)
        check_orders(report, name, file)
    check_few_levels(report)
    sys.exit(report.exit_status())


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""What int8 activations, and keys and values of fewer bits, cost trained 1-bit students.

Usage: int8.py [PACKED.gguf…]   (needs what `tools/accept.sh demo` and tools/distillation_table.py make)

The students of SmolLM2 are the demo's of seed 0 and those of tools/distillation_table.py's row `best`,
which has stories260K's too; or the packed files that are named. For each, on the demo's novel kept out
of training: perplexity with int8 activations against exact ones, and the KL from exact of int8
activations, of keys and values in f16 and of those in q8_0, each alone.
"""
import pathlib
import subprocess
import sys

sys.path.append(str(pathlib.Path(__file__).parent))
import figures  # noqa: E402

PERCENT = 0.2
WINDOW = 512
DEMO = figures.ROOT / "demo"
TEXT = DEMO / "novels/held_out.txt"
# By the teacher: what makes its students, and where they are in demo/.
STUDENTS = {
    "SmolLM2": ("tools/accept.sh demo", "seed-0/run/model.gguf", "tables/smollm2/models/best-1M.gguf"),
    "stories260K": ("tools/distillation_table.py stories260k run best", "tables/stories260k/models/best.gguf",
                    "tables/stories260k/models/best@*.gguf"),
}
SAVINGS = {"int8 activations": ("--activations", "i8"), "keys and values in f16": ("--kv-type", "f16"),
           "keys and values in q8_0": ("--kv-type", "q8_0")}


def perplexity(model, *flags):
    """Exact where no flag says otherwise."""
    return figures.run_json("perplexity", model, "-f", TEXT, "-c", WINDOW, *flags)


def check(report, name, model):
    exact = perplexity(model)
    report.note(f"{name}: perplexity of {exact['scored']} tokens", f"{exact['ppl']:.3f}")
    for saving, flags in SAVINGS.items():
        said = perplexity(model, *flags, "--kl-teacher", model)
        percent = 100 * (said["ppl"] / exact["ppl"] - 1)
        figure = f"{name}: {saving}, perplexity", f"{percent:+.3f} %"
        if "i8" in flags:
            report.check(*figure, f"within {PERCENT} %", abs(percent) <= PERCENT)
        else:
            report.note(*figure)
        report.note(f"{name}: {saving}, KL", f"{said['kl_mean']:.2e}")


def try_check(report, name, model):
    """One that does not open, an older version's say, leaves the others to be measured."""
    try:
        check(report, name, model)
    except subprocess.CalledProcessError as error:  # the program has said why
        report.check(f"{name}: exit status of onebit perplexity", error.returncode, "= 0", held=False)


def check_all(report):
    for teacher, (maker, *patterns) in STUDENTS.items():
        files = [file for pattern in patterns for file in sorted(DEMO.glob(pattern))]
        if not files:
            report.check(f"{teacher}: students", 0, ">= 1", held=False)
            print(f"int8: {DEMO / patterns[0]}: found no file, expected a trained student ({maker} makes one)",
                  file=sys.stderr)
        for file in files:
            try_check(report, f"{teacher}, {'demo' if file.name == 'model.gguf' else file.stem}", file)


def main():
    report = figures.Report("int8")
    figures.forget_settings()
    if not TEXT.exists():
        sys.exit(f"int8: {TEXT}: found no file, expected a text kept out of training (tools/accept.sh demo makes it)")
    for path in sys.argv[1:]:
        try_check(report, pathlib.Path(path).stem, path)
    if not sys.argv[1:]:
        check_all(report)
    return report.exit_status()


if __name__ == "__main__":
    sys.exit(main())

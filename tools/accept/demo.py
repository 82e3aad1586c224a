#!/usr/bin/env python3
"""The demo's distillation against the plain reference recipe at equal wall time, three seeds.

Usage: demo.py [SEED…]   (0 1 2 when none is given; some 25 minutes each)

Runs tools/demo.sh with each seed, then `onebit distill --recipe paper` (end to end only, the
reference's losses, start and straight-through gradient, without its 500 steps of warm-up, which would
be all of so short a run) on the same text for at least the time that the demo's distillation took.
Both students are measured with `onebit perplexity --kl-teacher` on the novel kept out.
"""
import json
import math
import pathlib
import shutil
import subprocess
import sys

sys.path.append(str(pathlib.Path(__file__).parent))
import figures  # noqa: E402

DEMO = figures.ROOT / "demo"
AT_MOST_OF_START = 0.5
BELOW_REFERENCE = 0.20
TOKENS = 8000
SEQUENCES, LENGTH = 4, 256
WARMUP = 0.05  # of the steps
SPEED_MARGIN = 1.1  # the reference may be this much faster than in the probe and still fill the time


def kl(model):
    return figures.run_json("perplexity", model, "-f", DEMO / "novels/held_out.txt", "-c", 512,
                            "--max-windows", 16, "--kl-teacher", figures.SMOLLM2)


def reference_run(folder, seed, steps):
    shutil.rmtree(folder, ignore_errors=True)
    return figures.run_json(
        "distill", figures.SMOLLM2, "-o", folder, "--recipe", "paper", "--steps", steps, "--warmup",
        math.ceil(WARMUP * steps), "--batch", SEQUENCES, "--length", LENGTH, "--seed", seed,
        "--eval-every", 0, "--data", DEMO / "novels/train.jsonl", "--data", DEMO / "synth.jsonl")


def main():
    report = figures.Report("demo")
    figures.forget_settings()
    for seed in map(int, sys.argv[1:] or ("0", "1", "2")):
        folder = DEMO / f"seed-{seed}"
        shutil.rmtree(folder, ignore_errors=True)  # the figures are this program's, not an earlier one's
        subprocess.run([figures.ROOT / "tools/demo.sh", str(seed)], check=True, stdout=sys.stderr)
        ours = json.loads((folder / "distill.json").read_text())
        start, end = (json.loads((folder / f"{which}.perplexity.json").read_text())
                      for which in ("start", "trained"))
        probe = reference_run(folder / "reference", seed, 5)
        rate = probe["tokens_per_second"] / (SEQUENCES * LENGTH)
        steps = math.ceil(ours["wall_seconds"] * rate * SPEED_MARGIN)
        theirs = reference_run(folder / "reference", seed, steps)
        reference = kl(folder / "reference/model.gguf")
        name = f"seed {seed}"
        report.check(f"{name}: held-out tokens", end["scored"], f">= {TOKENS}", end["scored"] >= TOKENS)
        report.note(f"{name}: KL at start", f"{start['kl_mean']:.4f}")
        report.note(f"{name}: KL after", f"{end['kl_mean']:.4f}", f"{ours['wall_seconds']:.0f} s")
        report.note(f"{name}: KL of the reference recipe", f"{reference['kl_mean']:.4f}",
                    f"{theirs['wall_seconds']:.0f} s, {steps} steps")
        ratio = end["kl_mean"] / start["kl_mean"]
        report.check(f"{name}: KL after / KL at start", f"{ratio:.3f}", f"<= {AT_MOST_OF_START}",
                     ratio <= AT_MOST_OF_START)
        below = 1 - end["kl_mean"] / reference["kl_mean"]
        report.check(f"{name}: KL below the reference's by", f"{100 * below:.1f} %",
                     f">= {100 * BELOW_REFERENCE:.0f} %", below >= BELOW_REFERENCE)
        longer = theirs["wall_seconds"] / ours["wall_seconds"]
        report.check(f"{name}: the reference's wall time / ours", f"{longer:.3f}", ">= 1", longer >= 1)
    return report.exit_status()


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""What each choice of the short recipe (docs/recipe.md) is worth, one changed at a time, as a table.

Usage: tools/recipe_table.py [NAME…]   (all when none is named; some 7 minutes each on two cores)

Every row is one `onebit distill` on the demo's text (made by tools/demo.sh) and the divergence from
the teacher on the novel kept out. Rows without the block-wise stage take as many more steps as that
stage's time is worth. What is in demo/recipes/ already is not made again.
"""
import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
ONEBIT = ROOT / "build/dev/bin/onebit"
TEACHER = ".deps/models/smollm2-135m-instruct.gguf"
DEMO = ROOT / "demo"
STEPS, BLOCK_STAGE_IN_STEPS = 45, 13
LONGER = STEPS + BLOCK_STAGE_IN_STEPS
ROWS = {
    "best": "",
    "no-blocks": f"--block-steps 0 --steps {LONGER}",
    "high-rate": "--lr 1e-2",
    "low-scale-rate": "--scale-rate 0.1 --block-scale-rate 0.1",
    "paper-form": "--form paper",
    "sign-latents": "--latent sign --lr 2e-3",
    "tanh-gradient": "--sign-gradient tanh",
}


def onebit(*words):
    done = subprocess.run([ONEBIT, *map(str, words), "--json"], cwd=ROOT, check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout)


def measure(name, flags):
    """Runs what is missing; KL at the end, tokens and seconds."""
    folder = DEMO / "recipes" / name
    report = folder / "report.json"
    if not report.exists():
        steps = [] if "--steps" in flags else ["--steps", STEPS]
        run = onebit("distill", TEACHER, "-o", folder, "--data", DEMO / "novels/train.jsonl",
                     "--data", DEMO / "synth.jsonl", "--held-out", 0, "--seed", 0, *steps, *flags.split())
        end = onebit("perplexity", folder / "model.gguf", "-f", DEMO / "novels/held_out.txt", "-c", 512,
                     "--max-windows", 16, "--kl-teacher", TEACHER)
        report.write_text(json.dumps({**run, "kl": end["kl_mean"], "scored": end["scored"]}))
        (folder / "state.safetensors").unlink()  # 1.3 GB
    return json.loads(report.read_text())


def main():
    print("| run | changed | tokens end to end | seconds | KL |\n|---|---|---:|---:|---:|")
    for name in sys.argv[1:] or ROWS:
        got = measure(name, ROWS[name])
        changed = f"`{ROWS[name]}`" if ROWS[name] else "nothing"
        print(f"| {name} | {changed} | {got['tokens']:,} | {got['wall_seconds']:.0f} | {got['kl']:.3f} |", flush=True)


if __name__ == "__main__":
    main()

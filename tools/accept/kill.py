#!/usr/bin/env python3
"""SIGKILL at random moments of a distillation, then --resume: the end must be the unbroken run's.

Usage: kill.py [SEED…]   (0 … 9 when none is given)

For each seed a run of stories260K on text of its own, in a form that goes with the seed, is killed
three times, each time when a random number of steps more has been written to its metrics (or during
the block-wise stage, or while it saves: the moment within the step is the system's), and resumed.
Weights, moments and packed model must be those of the run that nobody stopped, bit for bit.
"""
import hashlib
import pathlib
import random
import subprocess
import sys
import tempfile
import time

sys.path.append(str(pathlib.Path(__file__).parent))
import figures  # noqa: E402

TEACHER = figures.ROOT / ".deps/models/stories260k.gguf"
STEPS, KILLS, SAMPLES, LENGTH = 40, 3, 32, 64
FORMS = (["--form", "free"], ["--recipe", "paper", "--warmup", "4"], ["--group-size", "32"],
         ["--form", "foldable", "--train-norms"])


def command(folder, data, seed):
    return ["distill", TEACHER, "-o", folder, "--data", data, "--steps", STEPS, "--length", LENGTH, "--batch",
            2, "--block-steps", 4, "--save-every", 3, "--eval-every", 10, "--held-out", 0.1, "--seed", seed,
            "--threads", 1, *FORMS[seed % len(FORMS)]]


def digests(folder):
    return [hashlib.sha256((folder / name).read_bytes()).hexdigest()
            for name in ("state.safetensors", "model.gguf")]


def kill_after(rows, arguments, folder):
    """Starts the run and kills it once `rows` more lines stand in its metrics. False: it ended before."""
    file = folder / "metrics.jsonl"
    lines = lambda: file.read_bytes().count(b"\n") if file.exists() else 0  # noqa: E731
    begin = lines()
    process = subprocess.Popen([figures.ONEBIT, *map(str, arguments)], stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE)
    while process.poll() is None and lines() - begin < rows:
        time.sleep(0.002)
    killed = process.poll() is None
    process.kill()
    message = process.communicate()[1].decode().strip()
    if not killed and process.returncode != 0:
        sys.exit(f"kill: the run ended with {process.returncode}: {message}")
    return killed


def main():
    report = figures.Report("kill")
    figures.forget_settings()
    seeds = [int(word) for word in sys.argv[1:]] or range(10)
    different = kills = 0
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        data = scratch / "text.jsonl"
        figures.run_json("synth", TEACHER, "-o", data, "--samples", SAMPLES, "--length", LENGTH)
        for seed in seeds:
            rng = random.Random(seed)
            whole, broken = scratch / f"whole-{seed}", scratch / f"broken-{seed}"
            figures.run_json(*command(whole, data, seed))
            resume = []
            for _ in range(KILLS):
                kills += kill_after(rng.randint(1, STEPS // KILLS), command(broken, data, seed) + resume, broken)
                begun = any((broken / name).exists() for name in ("state.safetensors", "blocks/0.safetensors"))
                resume = ["--resume"] if begun else []
            figures.run_json(*command(broken, data, seed), *resume)
            different += digests(whole) != digests(broken)
    report.note(f"{len(seeds)} runs of {STEPS} steps: times killed", kills)
    report.check("runs that ended otherwise than unbroken", different, "= 0", different == 0)
    return report.exit_status()


if __name__ == "__main__":
    sys.exit(main())

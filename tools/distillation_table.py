#!/usr/bin/env python3
"""What each choice of a distillation is worth: many `onebit distill` runs of equal tokens, as a table.

Usage: distillation_table.py stories260k|smollm2 run [-j N] [--onebit PATH] [--device D] [ROW[@SEED] …]
       distillation_table.py stories260k|smollm2 table|figures

`run` makes what docs/results/<model>.json lacks and adds it there; runs that were stopped go on from
their last checkpoint. Rows are named below; ROW alone is seed 0. Every run sees the same number of
tokens of the same text, those of a block-wise stage with flags of its own included, and is judged on
the same held-out text by the same program. -j N runs N at a time, one thread each: the figures do not depend on it, the
seconds do. `table` prints Markdown; `figures` draws docs/results/<model>-*.svg with gnuplot.
"""
import argparse
import concurrent.futures
import json
import pathlib
import shlex
import shutil
import subprocess
import sys
import threading

ROOT = pathlib.Path(__file__).resolve().parents[1]
STAGE = "--block-steps 200 --block-batch 4 --block-segments 800"
OURS, PAPER = "--recipe best", "--recipe paper"
TOKEN = "--logit-reduction token --logit-scale 1"
MODELS = {
    "stories260k": {
        "teacher": ".deps/models/stories260k.gguf",
        "length": 512, "batch": 8, "tokens": 10_000_000,
        # The teacher's own stories: 10.24M tokens to train on, 131,072 to judge.
        "synth": {"train": (20000, 1), "held": (256, 2)},
        "more_tokens": {},
        "common": "--warmup 100 --eval-sequences 128",
        # The figure of curves: rows that differ in the start alone.
        "starts": ["paper", "paper-svd", "paper-in", "paper-out", "paper-copy"],
        # The figure of sizes.
        "sizes": ["paper", "paper-lr6.4e-3", "best", "foldable", "foldable-32", "foldable-16"],
        "rows": {
            "paper": PAPER,
            "paper-lr1e-4": f"{PAPER} --lr 1e-4",
            "paper-lr1.6e-3": f"{PAPER} --lr 1.6e-3",
            "paper-lr3.2e-3": f"{PAPER} --lr 3.2e-3",
            "paper-lr6.4e-3": f"{PAPER} --lr 6.4e-3",
            "paper-lr1.3e-2": f"{PAPER} --lr 1.28e-2",
            "paper-lr2.6e-2": f"{PAPER} --lr 2.56e-2",
            "best": f"{OURS} {STAGE}",
            "best-lr1e-3": f"{OURS} {STAGE} --lr 1e-3",
            "best-lr3e-3": f"{OURS} {STAGE} --lr 3e-3",
            "best-lr1e-2": f"{OURS} {STAGE} --lr 1e-2",
            "best-lr4e-2": f"{OURS} {STAGE} --lr 4e-2",
            "best-lr8e-2": f"{OURS} {STAGE} --lr 8e-2",
            "best-no-blocks": f"{OURS} --block-steps 0",
            "best-no-blocks-lr3e-3": f"{OURS} --block-steps 0 --lr 3e-3",
            "best-no-blocks-lr1e-2": f"{OURS} --block-steps 0 --lr 1e-2",
            "foldable": f"{OURS} {STAGE} --form foldable",
            "foldable-lr3e-3": f"{OURS} {STAGE} --form foldable --lr 3e-3",
            "foldable-lr1e-2": f"{OURS} {STAGE} --form foldable --lr 1e-2",
            "foldable-32": f"{OURS} {STAGE} --group-size 32",
            "foldable-32-lr3e-3": f"{OURS} {STAGE} --group-size 32 --lr 3e-3",
            "foldable-16": f"{OURS} {STAGE} --group-size 16",
            "foldable-16-lr3e-3": f"{OURS} {STAGE} --group-size 16 --lr 3e-3",
            "best-paper-form": f"{OURS} {STAGE} --form paper",
            "best-paper-form-lr3e-3": f"{OURS} {STAGE} --form paper --lr 3e-3",
            "best-blocks-400": f"{OURS} --block-steps 400 --block-batch 4 --block-segments 1600",
            # The paper's recipe from other starts.
            "paper-svd": f"{PAPER} --init svd --split balanced",
            "paper-in": f"{PAPER} --split in",
            "paper-out": f"{PAPER} --split out",
            "paper-copy": f"{PAPER} --init copy",
            # Its losses, with its normalisation and with the mean over tokens.
            "paper-beta0": f"{PAPER} --beta 0",
            "paper-beta10": f"{PAPER} --beta 10",
            "paper-gamma1": f"{PAPER} --gamma 1",
            "paper-alpha0.5": f"{PAPER} --alpha 0.5",
            "paper-token-beta0": f"{PAPER} {TOKEN} --beta 0",
            "paper-token": f"{PAPER} {TOKEN}",
            "paper-token-gamma1": f"{PAPER} {TOKEN} --gamma 1",
        },
    },
    "smollm2": {
        "teacher": ".deps/models/smollm2-135m-instruct.gguf",
        "length": 256, "batch": 4, "tokens": 300_000,
        # The demo's novels; the sixth is kept out.
        "prepare": ["tools/novels.sh", "demo/novels"],
        "files": {"train": "demo/novels/train.jsonl", "held": "demo/novels/held_out.txt"},
        "more_tokens": {"paper-1M": 1_000_000, "best-1M": 1_000_000},
        "common": "--warmup 10 --eval-sequences 64",
        "starts": ["paper", "best", "best-no-blocks"],
        "sizes": ["paper", "best", "foldable", "foldable-128", "foldable-64"],
        "rows": {
            "paper": PAPER,
            "paper-lr1e-4": f"{PAPER} --lr 1e-4",
            "paper-lr1.6e-3": f"{PAPER} --lr 1.6e-3",
            "paper-lr6.4e-3": f"{PAPER} --lr 6.4e-3",
            "paper-lr1.3e-2": f"{PAPER} --lr 1.28e-2",
            "best": OURS,
            "best-lr3e-3": f"{OURS} --lr 3e-3",
            "best-lr1e-2": f"{OURS} --lr 1e-2",
            "best-lr2e-2": f"{OURS} --lr 2e-2",
            "best-no-blocks": f"{OURS} --block-steps 0",
            "best-paper-form": f"{OURS} --form paper",
            "foldable": f"{OURS} --form foldable",
            "foldable-128": f"{OURS} --group-size 128",
            "foldable-64": f"{OURS} --group-size 64",
            "paper-1M": PAPER,
            "best-1M": OURS,
        },
    },
}
LOCK = threading.Lock()


class Table:
    def __init__(self, model, onebit, threads, device):
        self.model, self.onebit, self.threads, self.device = model, onebit, threads, device
        self.spec = MODELS[model]
        self.folder = ROOT / "demo/tables" / model
        self.results = ROOT / "docs/results" / f"{model}.json"

    def read(self):
        return json.loads(self.results.read_text()) if self.results.exists() else {}

    def text(self, part):
        if "files" in self.spec:
            path = ROOT / self.spec["files"][part]
            if not path.exists():
                subprocess.run(self.spec["prepare"], cwd=ROOT, check=True)
            return path
        path = self.folder / f"{part}.jsonl"
        if not path.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            samples, seed = self.spec["synth"][part]
            self.call("synth", ROOT / self.spec["teacher"], "-o", path, "--samples", samples, "--length",
                      self.spec["length"], "--seed", seed)
        return path

    def call(self, *words):
        done = subprocess.run([self.onebit, *map(str, words), "--json"], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{shlex.join(map(str, words))}: {done.stderr.splitlines()[-1]}")
        return json.loads(done.stdout)

    def steps(self, name):
        """Of the whole model: what the block-wise stage has seen is taken off."""
        flags, tokens = self.spec["rows"][name], self.spec["more_tokens"].get(name, self.spec["tokens"])
        words = flags.split()
        value = {k: int(v) for k, v in zip(words, words[1:]) if k.startswith("--block")}
        seen = min(value.get("--block-steps", 0) * value.get("--block-batch", 1), value.get("--block-segments", 48))
        return (tokens // self.spec["length"] - seen) // self.spec["batch"]

    def run(self, job):
        name, _, seed = job.partition("@")
        flags, run = self.spec["rows"][name], self.folder / job
        steps = self.steps(name)
        words = ["distill", ROOT / self.spec["teacher"], "-o", run, "-t", self.threads,
                 "--device", self.device, "--dtype", "f32"]
        if (run / "state.safetensors").exists() or (run / "blocks/0.safetensors").exists():
            words += ["--resume"]
        else:
            shutil.rmtree(run, ignore_errors=True)
            words += ["--data", self.text("train"), "--eval-file", self.text("held"), "--held-out", 0,
                      "--length", self.spec["length"], "--batch", self.spec["batch"], "--steps", steps,
                      "--seed", seed or 0, *self.spec["common"].split(), *flags.split()]
        report = self.call(*words, "--eval-every", max(1, steps // 8), "--save-every", 10**9)
        info = self.call("info", run / "model.gguf")
        tokens = self.spec["batch"] * self.spec["length"]
        curve = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        row = {
            "row": name, "seed": int(seed or 0), "flags": flags, "steps": steps,
            "device": self.device, "kl": report["end"]["kl"], "cross_entropy": report["end"]["cross_entropy"],
            "teacher_cross_entropy": report["end"].get("teacher_cross_entropy"),
            "held_out_tokens": report["end"]["tokens"],
            "file_bytes": info["file_bytes"], "matrix_bits": info["matrices"]["bits_per_weight"],
            "file_bits": info["file_bits_per_weight"],
            "seconds": round(sum(tokens / r["tokens_per_second"] for r in curve if "tokens_per_second" in r)),
            "curve": [[r["step"], round(r["held_out_kl"], 5)] for r in curve if "held_out_kl" in r],
        }
        self.add(job, row)
        print(f"{job}: KL {row['kl']:.4f}", flush=True)
        models = self.folder / "models"
        models.mkdir(exist_ok=True)
        (run / "model.gguf").rename(models / f"{job}.gguf")
        shutil.rmtree(run)

    def add(self, job, row):
        with LOCK:
            rows = self.read()
            rows[job] = row
            text = ",\n".join(f"{json.dumps(key)}: {json.dumps(rows[key])}" for key in sorted(rows))
            part = self.results.with_suffix(".part")
            part.write_text("{\n" + text + "\n}\n")
            part.replace(self.results)

    def table(self):
        import math
        print("| row | seed | flags | KL | perplexity | file, bytes | bits, matrices | bits, file | seconds |")
        print("|---|---|---|---:|---:|---:|---:|---:|---:|")
        order = list(self.spec["rows"])
        for r in sorted(self.read().values(), key=lambda r: (order.index(r["row"]), r["seed"])):
            print(f"| {r['row']} | {r['seed']} | `{r['flags']}` | {r['kl']:.4f} | {math.exp(r['cross_entropy']):.3f} | "
                  f"{r['file_bytes']:,} | {r['matrix_bits']:.3f} | {r['file_bits']:.3f} | {r['seconds']:,} |")

    def figures(self):
        """Held-out KL by step for each start, and size against KL; first seeds."""
        rows = {r["row"]: r for r in self.read().values() if r["seed"] == 0}
        curves = [name for name in self.spec["starts"] if name in rows]
        script = ["set terminal svg size 800,480 noenhanced background 'white'", "set grid lc rgb '#dddddd'",
                  "set border 3", "set tics nomirror", "set colorsequence podo", "set ylabel 'held-out KL, nats a token'"]
        for i, name in enumerate(curves):
            points = "\n".join(f"{step} {kl}" for step, kl in rows[name]["curve"])
            script.append(f"$c{i} << END\n{points}\nEND")
        plots = ", ".join(f"$c{i} using 1:2 with linespoints pt 7 ps 0.5 lw 1.5 title '{name}'"
                          for i, name in enumerate(curves))
        script += [f"set output '{self.results.with_suffix('')}-starts.svg'", "set xlabel 'step'", "set logscale y",
                   f"plot {plots}", "unset logscale y"]
        points = "\n".join(f"{rows[name]['file_bytes'] / 1e3} {rows[name]['kl']} {name}"
                           for name in self.spec["sizes"] if name in rows)
        script += [f"$s << END\n{points}\nEND", f"set output '{self.results.with_suffix('')}-size.svg'",
                   "set xlabel 'whole file, kB'", "set offsets graph 0.15, graph 0.25, graph 0.1, graph 0.1",
                   "plot $s using 1:2 with points pt 7 ps 0.7 notitle, "
                   "$s using 1:2:3 with labels left offset 0.8,0 notitle"]
        subprocess.run(["gnuplot"], input="\n".join(script) + "\n", text=True, check=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("what", choices=["run", "table", "figures"])
    parser.add_argument("-j", type=int, default=1)
    parser.add_argument("--onebit", default=ROOT / "build/dev/bin/onebit")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("jobs", nargs="*")
    args = parser.parse_intermixed_args()
    table = Table(args.model, args.onebit, 1 if args.j > 1 else 0, args.device)
    if args.what != "run":
        return getattr(table, args.what)()
    done = table.read()
    jobs = [job for job in args.jobs or table.spec["rows"] if job not in done]
    table.text("train"), table.text("held")
    pool = concurrent.futures.ThreadPoolExecutor(args.j)
    runs = [pool.submit(table.run, job) for job in jobs]
    try:
        for run in concurrent.futures.as_completed(runs):
            if run.exception():
                print(run.exception(), file=sys.stderr, flush=True)
    finally:
        pool.shutdown(cancel_futures=True)
    return any(run.exception() for run in runs)


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Speed of whole models beside llama.cpp's, both sides in turns: prompt, generation, memory, loading.

Usage: speed.py [avx2] [SHAPE…]   (smollm2 7b when none is named; builds the preset bench and llama.cpp)

Models have random weights and the shapes of SmolLM2-135M and Llama-2-7B (bench/random_model.py); rows
of 576 fit no smaller type of llama.cpp's than q4_0. A round runs `onebit bench` on each of our models
and llama-bench on each of llama.cpp's, with one and with two threads; medians of the rounds count. 7B's
generation is held against the memory's bandwidth, which each run of `onebit bench` measures, its memory
against the file and the keys and values, its loading, from the page cache, against a second.
avx2 builds llama.cpp without AVX-512 and forces our AVX2 kernels.

Environment: ROUNDS (5), PROMPT (512, tokens; 7B takes over an hour with it, most of which is llama.cpp's,
and some 20 minutes with 128).
"""
import collections
import json
import os
import pathlib
import statistics
import subprocess
import sys

sys.path.append(str(pathlib.Path(__file__).parent))
import figures  # noqa: E402
import peers  # noqa: E402

PROMPT = int(os.environ.get("PROMPT", 512))
GENERATE = {"smollm2": 64, "7b": 32}  # tokens
# (type, head) of the models that each side runs.
OURS = {"smollm2": (("onebit", "q8_0"), ("f16", "f16")), "7b": (("onebit", "q8_0"), ("onebit", "f16"))}
THEIRS = {"smollm2": (("q4_0", "q8_0"), ("q8_0", "q8_0"), ("f16", "f16")),
          "7b": (("q1_0", "q8_0"), ("tq2_0", "q8_0"))}
KINDS = ("prompt", "generation")
# 1-bit, of the shape of SmolLM2, as a multiple of llama.cpp's fastest type; f16 of its f16.
ONE_BIT = {"prompt": 1.0, "generation": 2.0}
F16 = 0.8
OF_BANDWIDTH = 0.67
MEMORY = 1.10  # of file, keys and values
LOAD_SECONDS = 1.0


class Shape:
    """All runs of the models of one shape. A model is (type, head)."""

    def __init__(self, name):
        self.name = name
        self.lengths = ["-p", PROMPT, "-n", GENERATE[name], "-r", 1, "-t", ",".join(map(str, peers.THREADS))]
        self.said = collections.defaultdict(list)  # by our model: objects of `onebit bench`
        self.speeds = collections.defaultdict(list)  # by (side, model, kind, threads): tokens/s

    def measure(self, tool):
        for model in OURS[self.name]:
            file = peers.model(self.name, *model)
            read_once(file)
            said = figures.run_json("bench", file, *self.lengths, program=peers.BIN / "onebit")
            self.said[model].append(said)
            for result in said["results"]:
                kind = KINDS[result["test"].startswith("tg")]
                self.speeds["ours", model, kind, result["threads"]].append(result["tokens_per_second"])
        for model in THEIRS[self.name]:
            command = [tool, "-m", peers.model(self.name, *model), *self.lengths, "-o", "json"]
            done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, check=True)
            for result in json.loads(done.stdout):
                kind = KINDS[result["n_gen"] > 0]
                self.speeds["llama.cpp", model, kind, result["n_threads"]].append(result["avg_ts"])

    def speed(self, side, model, kind, threads):
        return statistics.median(self.speeds[side, model, kind, threads])

    def fastest_peer(self, kind, threads):
        """Its speed and its type."""
        return max((self.speed("llama.cpp", model, kind, threads), model[0]) for model in THEIRS[self.name])

    def median_of(self, model, threads, part, key):
        """Of what the entries for so many threads of a list of `onebit bench` have."""
        return statistics.median(entry[key] for said in self.said[model] for entry in said[part]
                                 if entry["threads"] == threads and key in entry)


def read_once(file):
    """So that it is in the page cache."""
    with open(file, "rb", buffering=0) as stream:
        while stream.read(1 << 24):
            pass


def note_speeds(report, shape):
    for test in KINDS:
        for threads in peers.THREADS:
            for side, models in (("ours", OURS), ("llama.cpp", THEIRS)):
                for model in models[shape.name]:
                    words = ", ".join(model).replace("onebit", "1-bit")
                    report.note(f"{shape.name}, {test}, {peers.threads_text(threads)}: {side} {words}",
                                f"{shape.speed(side, model, test, threads):.1f} tok/s")


def multiple(report, figure, ours, theirs, bound=None):
    value = f"{ours / theirs:.2f} x"
    if bound is None:
        report.note(figure, value)
    else:
        report.check(figure, value, f">= {bound:.2f} x", ours / theirs >= bound)


def check_peers(report, shape):
    for test in KINDS:
        for threads in peers.THREADS:
            name = f"{shape.name}, {test}, {peers.threads_text(threads)}"
            theirs, kind = shape.fastest_peer(test, threads)
            for model in OURS[shape.name]:
                ours = shape.speed("ours", model, test, threads)
                if model[0] == "onebit":
                    multiple(report, f"{name}: 1-bit, {model[1]} over {kind}", ours, theirs,
                             ONE_BIT[test] if shape.name == "smollm2" else None)
                else:
                    multiple(report, f"{name}: {model[0]} over llama.cpp's", ours,
                             shape.speed("llama.cpp", model, test, threads), F16)


def check_machine(report, shape):
    """What 7B's size brings to light: bandwidth, memory, loading."""
    for model in OURS[shape.name]:
        name = f"{shape.name}, head {model[1]}"
        for threads in peers.THREADS:
            share = shape.median_of(model, threads, "results", "bandwidth_share")
            report.check(f"{name}, {peers.threads_text(threads)}: of the bandwidth", f"{100 * share:.1f} %",
                         f">= {100 * OF_BANDWIDTH:.0f} %", share >= OF_BANDWIDTH)
            seconds = shape.median_of(model, threads, "load", "load_seconds")
            report.check(f"{name}, {peers.threads_text(threads)}: loaded in", f"{seconds:.2f} s",
                         f"<= {LOAD_SECONDS} s", seconds <= LOAD_SECONDS)
        peak, wanted = (max(map(size, shape.said[model]))
                        for size in (lambda said: said["peak_bytes"],
                                     lambda said: said["file_bytes"] + said["kv_bytes"]))
        report.check(f"{name}: peak memory over file, keys, values", f"{peak / wanted:.3f}", f"<= {MEMORY}",
                     peak <= MEMORY * wanted)


def main():
    report = figures.Report("speed")
    figures.forget_settings()
    shapes = sys.argv[1:]
    isa = "avx512"
    if shapes[:1] == ["avx2"]:
        isa = shapes.pop(0)
        os.environ["ONEBIT_ISA"] = isa
    tool = peers.build(isa)
    peers.note_load(report)
    for name in shapes or GENERATE:
        shape = Shape(name)
        for _ in range(peers.rounds(5)):
            shape.measure(tool)
        note_speeds(report, shape)
        check_peers(report, shape)
        if name == "7b":
            check_machine(report, shape)
    return report.exit_status()


if __name__ == "__main__":
    sys.exit(main())

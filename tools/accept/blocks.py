#!/usr/bin/env python3
"""Memory and time of the methods that calibrate, on two blocks of LLaMA-7B's shape with 128 x 2048 tokens.

Usage: blocks.py [METHOD…]   (all when none is named; hours on two cores)

Weights and text are random (bench/random_model.py). Memory is what no one can take away: the process may allocate no
more than the bound (RLIMIT_DATA), and the figure is the peak of its anonymous pages, looked at fifty times a second;
what it maps of files, the residual streams among it, is the system's to drop. Left out are methods that train a whole
model, f16, which is bf16's way, and omniquant's --let. The time of 32 blocks is 16 times that of two and no measurement. A method's figures stay in build/accept/blocks:
a run that was broken off goes on with the method, and within it with the block, that it was at.
"""
import json
import pathlib
import random
import resource
import subprocess
import sys
import time

sys.path.append(str(pathlib.Path(__file__).parent))
import figures  # noqa: E402

FOLDER = figures.ROOT / "build/accept/blocks"
SAMPLES, LENGTH = 128, 2048
GIB, BOUND = 2**30, 6
UNCALIBRATED = ("bf16", "int8", "onebit", "rtn")
METHODS = {
    "bf16": ("bf16",),
    "int8": ("int8",),
    "onebit": ("onebit",),
    "rtn": ("rtn", "--bits", "4"),
    "gptq": ("gptq", "--bits", "4"),
    "lowrank": ("lowrank", "--bits", "1"),
    "billm": ("billm",),
    "arb": ("arb",),
    # One of its 20 epochs.
    "omniquant": ("omniquant", "--bits", "2", "--group-size", "64", "--epochs", "1"),
}


def make_inputs():
    FOLDER.mkdir(parents=True, exist_ok=True)
    model, text = FOLDER / "model.gguf", FOLDER / "text.txt"
    if not model.exists():
        subprocess.run([figures.ROOT / ".deps/reference/bin/python", figures.ROOT / "bench/random_model.py", "--shape", "7b",
                        "--layers", "2", "--type", "f16", "-o", model], check=True)
    if not text.exists():
        rng = random.Random(0)  # the model's tokens are numbers
        text.write_text(" ".join(str(rng.randrange(31000)) for _ in range((SAMPLES + 1) * LENGTH)))
    return model, text


def anonymous_bytes(process):
    try:
        fields = dict(line.split(":", 1) for line in pathlib.Path(f"/proc/{process}/status").read_text().splitlines())
    except OSError:
        return 0  # it has ended
    return sum(int(fields.get(key, "0 kB").split()[0]) * 1024 for key in ("RssAnon", "RssShmem"))


def limit_memory():
    resource.setrlimit(resource.RLIMIT_DATA, (BOUND * GIB, BOUND * GIB))


def measure(name, model, text):
    out, facts = FOLDER / f"{name}.gguf", FOLDER / f"{name}.json"
    begun = FOLDER / f"{name}.seconds"  # of runs that were broken off
    if facts.exists():
        return json.loads(facts.read_text())
    calib = () if name in UNCALIBRATED else ("--calib", text, "--samples", SAMPLES, "--length", LENGTH)
    command = [figures.ONEBIT, "quantize", model, "-o", out, "--method", *METHODS[name], *calib]
    before = json.loads(begun.read_text()) if begun.exists() else {"seconds": 0, "peak": 0}
    begin, peak = time.monotonic(), before["peak"]
    parts = FOLDER / f"{name}.gguf.part"
    saved = set(parts.glob("*.safetensors"))
    with subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, preexec_fn=limit_memory) as process:
        while process.poll() is None:
            time.sleep(0.02)
            peak = max(peak, anonymous_bytes(process.pid))
            if (there := set(parts.glob("*.safetensors"))) != saved:
                # From here a run that is broken off goes on: what it did after the last of them is done again.
                saved = there
                begun.write_text(json.dumps({"seconds": before["seconds"] + time.monotonic() - begin, "peak": peak}))
    if process.returncode:
        sys.exit(f"blocks: {name}: exit status {process.returncode}")
    result = {"seconds": before["seconds"] + time.monotonic() - begin, "peak": peak, "bytes": out.stat().st_size}
    facts.write_text(json.dumps(result))
    begun.unlink(missing_ok=True)
    out.unlink()
    return result


def main():
    figures.forget_settings()
    report = figures.Report("blocks")
    model, text = make_inputs()
    for name in sys.argv[1:] or METHODS:
        found = measure(name, model, text)
        report.check(f"{name}: peak of anonymous memory", f"{found['peak'] / GIB:.2f} GiB", f"< {BOUND} GiB",
                     found["peak"] < BOUND * GIB)
        report.note(f"{name}: two blocks", f"{found['seconds'] / 60:.1f} min", "measured")
        report.note(f"{name}: 32 blocks", f"{found['seconds'] * 16 / 3600:.1f} h", "extrapolated")
        if name == "omniquant":
            report.note(f"{name}: those are of one epoch", "20 by default", "not measured")
    sys.exit(report.exit_status())


if __name__ == "__main__":
    main()

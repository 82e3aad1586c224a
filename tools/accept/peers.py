"""What the scripts that measure speed beside llama.cpp share: both sides' programs, models, rounds.

A module for the scripts beside it, as figures.py is. Both sides are measured in turns, ROUNDS times (an
environment variable), and medians count. Models have random weights (bench/random_model.py); they are
made in demo/random when they are first wanted and stay there.
"""
import os
import pathlib
import subprocess
import sys

sys.path.append(str(pathlib.Path(__file__).parent))
import figures  # noqa: E402

BIN = figures.ROOT / "build/bench/bin"
MODELS = figures.ROOT / "demo/random"
THREADS = (1, 2)


def rounds(default):
    return int(os.environ.get("ROUNDS", default))


def build(isa="avx512"):
    """Builds both sides; llama.cpp's llama-bench for `isa`, beside which its libraries lie."""
    figures.llama_cpp_tool("avx512", "llama-bench")  # whose libraries bench_kernels is linked with
    for command in (["--preset", "bench"],
                    ["--build", "--preset", "bench", "--target", "bench_kernels", "onebit"]):
        subprocess.run(["cmake", *command], cwd=figures.ROOT, stdout=sys.stderr, check=True)
    return figures.llama_cpp_tool(isa, "llama-bench")


def model(shape, kind, head):
    """The file of such a model."""
    path = MODELS / f"{shape}-{kind}-{head}.gguf"
    if not path.exists():
        MODELS.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, figures.ROOT / "bench/random_model.py", "--shape", shape, "--type",
                        kind, "--head", head, "-o", path], check=True)
    return path


def threads_text(threads):
    return f"{threads} thread" + "s" * (threads > 1)


def note_load(report):
    """What else the machine does, of which ratios suffer too: software that spins while it waits most."""
    report.note("load of the machine before", f"{os.getloadavg()[0]:.2f}", "0 when idle")

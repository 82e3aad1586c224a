#!/usr/bin/env python3
"""Two processes on loopback against one with the doubled batch, and what becomes of one whose other is lost.

Usage: processes.py

The first figures are those of src/distill/process_group_test.cc (stories260K, 20 steps); then the program
itself: the losses of 20 steps as one process and as two, and the end of a process after the other was
killed, or stopped and silent.
"""
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time

sys.path.append(str(pathlib.Path(__file__).parent))
import figures  # noqa: E402

TEACHER = figures.ROOT / ".deps/models/stories260k.gguf"
TIMEOUT = 15  # seconds


def measured_by_tests():
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        subprocess.run([figures.BUILD / "bin/distill_test", "--gtest_filter=Parallel.*",
                        f"--gtest_output=json:{report.name}"], check=True, stdout=subprocess.DEVNULL)
        suites = json.load(report)["testsuites"]
    return {key: value for suite in suites for test in suite["testsuite"] for key, value in test.items()}


def start(rank, port, words):
    env = {**os.environ, "RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": "2",
           "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"}
    return subprocess.Popen([figures.ONEBIT, *map(str, words)], env=env, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def losses(folder):
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [row["loss"] for row in rows if "loss" in row]


def lose(how, folder, words):
    """Exit code, lines on stderr and seconds of process 0 after `how` happened to process 1."""
    port = free_port()
    both = [start(rank, port, words) for rank in (0, 1)]
    metrics = folder / "metrics.jsonl"
    while not (metrics.exists() and metrics.read_text().count('"loss"') > 5):
        time.sleep(0.05)
    both[1].send_signal(how)
    begin = time.monotonic()
    error = both[0].communicate(timeout=120)[1]
    seconds = time.monotonic() - begin
    both[1].kill()
    both[1].communicate()
    return both[0].returncode, error.count("\n"), seconds


def main():
    report = figures.Report("processes")
    figures.forget_settings()
    found = measured_by_tests()
    for name, key, bound in (("f64: parameters after 20 steps", "f64_parameters", 1e-9),
                             ("f32: averaged gradient of step 1", "f32_gradient", 1e-6),
                             ("f32: losses of 20 steps", "f32_losses", 1e-5)):
        report.check(name + ", difference", found[key], f"<= {bound:g}", float(found[key]) <= bound)
    share = float(found["moments"])
    report.check("optimiser's moments held by process 0, share", found["moments"], "0.45 to 0.55",
                 0.45 <= share <= 0.55)
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        data = scratch / "text.jsonl"
        figures.run_json("synth", TEACHER, "-o", data, "--samples", 200, "--length", 128)

        def words(folder, batch, steps):
            return ["distill", TEACHER, "-o", folder, "--data", data, "--length", 128, "--batch", batch, "--steps",
                    steps, "--threads", 1, "--block-steps", 0, "--held-out", 0, "--log-level", "error",
                    "--timeout", TIMEOUT, "--save-every", 10]

        figures.run_json(*words(scratch / "one", 8, 20))
        port = free_port()
        both = [start(rank, port, words(scratch / "two", 4, 20)) for rank in (0, 1)]
        if [process.wait() for process in both] != [0, 0]:
            sys.exit(f"processes: {both[0].stderr.read()}{both[1].stderr.read()}")
        worst = max(abs(a - b) for a, b in zip(losses(scratch / "one"), losses(scratch / "two"), strict=True))
        report.check("the program's losses of 20 steps, difference", f"{worst:.2g}", "<= 1e-05", worst <= 1e-5)
        for name, how in (("killed", signal.SIGKILL), ("silent", signal.SIGSTOP)):
            folder = scratch / name
            code, lines, seconds = lose(how, folder, words(folder, 4, 10**6))
            held = code == 1 and lines == 1 and seconds <= TIMEOUT + 5
            report.check(f"after the other was {name}: exit code, lines, seconds", f"{code}, {lines}, {seconds:.1f}",
                         f"1, 1, <= {TIMEOUT + 5}", held)
    return report.exit_status()


if __name__ == "__main__":
    sys.exit(main())

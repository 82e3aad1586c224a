#!/usr/bin/env python3
"""Every libFuzzer target for FUZZ_SECONDS (300), which must find nothing.

Usage: fuzz.py
"""
import os
import pathlib
import re
import subprocess
import sys

sys.path.append(str(pathlib.Path(__file__).parent))
import figures  # noqa: E402


def main():
    report = figures.Report("fuzz")
    seconds = os.environ.get("FUZZ_SECONDS", "300")
    with subprocess.Popen([figures.ROOT / "tools/fuzz.sh", seconds], stdout=subprocess.PIPE,
                          text=True) as fuzz:
        for line in fuzz.stdout:
            clean = re.match(r"fuzz: (\S+) \d+s, (\d+) inputs, no finding", line)
            if clean:
                report.check(f"{clean[1]}: findings, {clean[2]} inputs", 0, f"= 0 in {seconds} s", True)
            else:
                sys.stderr.write(line)
            finding = re.match(r"fuzz: (\S+) failed", line)
            if finding:
                report.check(f"{finding[1]}: findings", 1, f"= 0 in {seconds} s", False)
    return report.exit_status() or fuzz.returncode


if __name__ == "__main__":
    sys.exit(main())

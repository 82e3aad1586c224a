#!/usr/bin/env python3
"""The whole suite under AddressSanitizer and UBSan; a finding ends its test and so fails it.

Usage: asan.py   (builds build/asan, about 10 GB)
"""
import pathlib
import re
import subprocess
import sys

sys.path.append(str(pathlib.Path(__file__).parent))
import figures  # noqa: E402


def main():
    report = figures.Report("asan")
    figures.forget_settings()
    done = subprocess.run(["make", "-s", "asan"], cwd=figures.ROOT, stdout=subprocess.PIPE, text=True,
                          check=False)
    print(done.stdout, file=sys.stderr)
    summary = re.search(r"(\d+) tests failed out of (\d+)", done.stdout)
    if summary is None:
        return 1
    failed, total = map(int, summary.groups())
    skipped = len(re.findall(r"\*\*\*Skipped", done.stdout))
    report.check("tests with a finding or a failure", failed, "= 0", failed == 0)
    report.check("tests that ran", total - skipped, "> 0", total > skipped)
    report.note("tests skipped (their data is absent)", skipped)
    return report.exit_status() or done.returncode


if __name__ == "__main__":
    sys.exit(main())

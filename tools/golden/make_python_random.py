#!/usr/bin/env python3
"""Writes tests/golden/eval/python_random.json: what the random.Random of CPython draws.

Needs Python 3.11 or later, nothing else. Re-run from the project's root:
    python3 tools/golden/make_python_random.py
"""
import json
import pathlib
import platform
import random

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests/golden/eval/python_random.json"
# (population, count): both ways to sample, the border between them, and a whole population.
DRAWS = [(1, 1), (5, 5), (21, 5), (22, 5), (84, 6), (85, 6), (86, 6), (40, 0), (300, 26), (16113, 6), (70000, 10),
         (1300, 1300)]


def main():
    cases = []
    for seed in (0, 1, 42, 1234, 2**32 - 1, 2**32, 2**63 + 12345):
        rng = random.Random(seed)  # the draws follow one another
        cases.append({"seed": seed, "draws": [
            {"population": n, "count": k, "sample": rng.sample(range(n), k)[:30]} for n, k in DRAWS]})
    OUT.write_text(json.dumps({"made_by": "tools/golden/make_python_random.py",
                               "python": platform.python_version(), "cases": cases}) + "\n")
    print(f"{OUT.name}: {OUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Checks that every include in src/ points to the same layer or to a layer of a lower row.

The table below is docs/architecture.md's. A layer includes only rows below its own, never a sibling
of the same row; eval is narrower still. libtorch may be included in the layers named in TORCH only.
Exit status 1 and one line a violation.
"""
import pathlib
import re
import sys

ROWS = {
    "base": 1, "formats": 2, "kernels": 3, "file": 3, "text": 3, "arch": 4, "runtime": 5, "nn": 5,
    "eval": 5, "quant": 6, "serve": 6, "distill": 7, "report": 7, "cuda": 8, "cli": 9,
}
ONLY = {"eval": {"base", "text"}, "text": {"base"}, "report": {"base", "eval"},
        "serve": {"base", "formats", "kernels", "file", "text", "arch", "runtime"}}
NOT = {"quant": {"runtime"}}
TORCH = {"nn", "quant", "distill", "cuda", "cli"}
INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]')


def allowed(layer: str, target: str) -> bool:
    if target == layer:
        return True
    if layer in ONLY:
        return target in ONLY[layer]
    return ROWS[target] < ROWS[layer] and target not in NOT.get(layer, set())


def main() -> int:
    root = pathlib.Path(sys.argv[1])
    problems = []
    count = 0
    for path in sorted(root.rglob("*")):
        if path.suffix not in {".h", ".cc", ".inc", ".cu", ".cuh"}:
            continue
        layer = path.relative_to(root).parts[0]
        if layer not in ROWS:
            problems.append(f"{path}: folder '{layer}' is not in the table of layers")
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            match = INCLUDE.match(line)
            if not match:
                continue
            count += 1
            style, name = match.groups()
            if style == "<":
                if re.match(r"(torch|ATen|c10)/", name) and layer not in TORCH:
                    problems.append(f"{path}:{number}: libtorch header <{name}> in layer '{layer}'")
                continue
            target = name.split("/")[0]
            if not (root / name).exists():
                problems.append(f"{path}:{number}: \"{name}\" is not a path below src/")
            elif name == "base/test_paths.h" and not (path.stem.endswith("_test") or
                                                          path.stem.startswith("test_")):
                problems.append(f"{path}:{number}: only tests include {name}")
            elif not allowed(layer, target):
                problems.append(f"{path}:{number}: layer '{layer}' must not include '{name}'")
    for problem in problems:
        print(problem)
    print(f"{count} includes checked, {len(problems)} wrong")
    return 1 if problems or count == 0 else 0


if __name__ == "__main__":
    sys.exit(main())

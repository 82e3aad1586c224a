#!/usr/bin/env python3
"""Checks the house rules that no compiler or formatter knows. Usage: check_style.py [ROOT]

- a source file has under 800 lines, a CMake file under 150;
- it begins with a comment that says why it exists; foo.cc and foo_test.cc may leave that to foo.h;
- a to-do note names its issue: TODO(#12);
- the library (src/ without cli) calls no std::terminate (check_symbols.py explains why that is here);
- every golden file is named by a test, or by a JSON index that is, so that none lies there unread.

Exit status 1 and one line a finding.
"""
import pathlib
import re
import sys

MAX_LINES = {".cc": 800, ".h": 800, ".cu": 800, ".cuh": 800, ".inc": 800, ".py": 800, ".sh": 800,
             ".cmake": 150}
FOLDERS = ("src", "tests", "tools", "bench", "cmake")
HEADER = {".cc": "//", ".h": "//", ".cu": "//", ".cuh": "//", ".inc": "//", ".cmake": "#", ".sh": "#",
          ".py": '"""'}
NOTE = re.compile(r"\b(TODO|FIXME|XXX)\b(?!\(#\d+\))")
TERMINATE = re.compile(r"\bstd::(terminate|set_terminate)\s*\(")


def source_files(root: pathlib.Path):
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            if path.is_file() and not {"golden", "fuzz"} & set(path.relative_to(root / folder).parts[:1]):
                yield path
    yield from sorted((root / "tools" / "golden").glob("*.py"))
    yield from sorted(root.glob("CMakeLists.txt"))


def kind(path: pathlib.Path) -> str:
    return ".cmake" if path.name == "CMakeLists.txt" else path.suffix


def file_findings(root: pathlib.Path, path: pathlib.Path):
    suffix = kind(path)
    if suffix not in MAX_LINES:
        return
    name = path.relative_to(root)
    lines = path.read_text().splitlines()
    if len(lines) >= MAX_LINES[suffix]:
        yield f"{name}: {len(lines)} lines, expected under {MAX_LINES[suffix]}"
    first = next((line for line in lines if line.strip() and not line.startswith("#!")), "")
    interface = path.with_name(path.stem.removesuffix("_test") + ".h")
    told_there = suffix == ".cc" and interface.exists()
    if not first.startswith(HEADER[suffix]) and not told_there and path.parent != root:
        yield f"{name}:1: no comment that says why the file exists"
    for number, line in enumerate(lines, 1):
        if NOTE.search(line) and path.name != pathlib.Path(__file__).name:
            yield f"{name}:{number}: a to-do note without its issue, expected TODO(#n)"
        if TERMINATE.search(line) and name.parts[0] == "src" and name.parts[1] != "cli":
            yield f"{name}:{number}: the library must not end the process"


def golden_findings(root: pathlib.Path):
    golden = root / "tests" / "golden"
    readers = list((root / "src").rglob("*_test.cc"))
    readers += [p for p in (root / "tests").rglob("*") if p.is_file() and golden not in p.parents]
    indices = list(golden.rglob("*.index.json"))
    text = "\n".join(path.read_text(errors="replace") for path in readers + indices)
    for path in sorted(golden.rglob("*")):
        if path.is_file() and path.name not in text and path.stem not in text:
            yield f"{path.relative_to(root)}: no test names it"


def main() -> int:
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    files = list(source_files(root))
    found = [line for path in files for line in file_findings(root, path)]
    found += golden_findings(root)
    for line in found:
        print(line)
    print(f"{len(files)} files checked, {len(found)} findings")
    return 1 if found or not files else 0


if __name__ == "__main__":
    sys.exit(main())

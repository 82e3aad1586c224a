#!/usr/bin/env python3
"""Writes docs/cli.md from what the programs say of themselves, or checks that it is up to date.

Usage: tools/cli_docs.py [--check] ONEBIT ONEBIT_TOOLKIT. `make cli-docs` runs it; the test
house.cli_docs runs it with --check: exit status 1 and the difference when they differ.
"""
import difflib
import pathlib
import re
import subprocess
import sys

PAGE = pathlib.Path(__file__).resolve().parents[1] / "docs" / "cli.md"
INTRODUCTION = """# Commands

Written by `make cli-docs` from the program's own help; change that in `src/cli/`, not here.

```
{help}```
"""


def output(program: str, word: str) -> str:
    return subprocess.run([program, word], check=True, capture_output=True, text=True).stdout


def page(onebit: str, toolkit: str) -> str:
    general = output(onebit, "help")
    sections = {}
    for program in (onebit, toolkit):
        for section in re.split(r"(?m)^(?=## onebit )", output(program, "docs"))[1:]:
            sections[section.split()[2]] = section.rstrip() + "\n"
    order = re.findall(r"(?m)^  (\w+) {2,}", general.split("Commands:\n")[1].split("\n\n")[0])
    if sorted(order) != sorted(sections):
        raise SystemExit(f"cli_docs: the help lists {order}, the programs describe {list(sections)}")
    return "\n".join([INTRODUCTION.format(help=general), *(sections[name] for name in order)])


def main() -> int:
    check = "--check" in sys.argv
    programs = [word for word in sys.argv[1:] if word != "--check"]
    if len(programs) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    wanted = page(*programs)
    if not check:
        PAGE.write_text(wanted)
        return 0
    found = PAGE.read_text() if PAGE.exists() else ""
    if found == wanted:
        return 0
    sys.stdout.writelines(difflib.unified_diff(found.splitlines(True), wanted.splitlines(True),
                                               "docs/cli.md", "what the programs say"))
    print("docs/cli.md is out of date: run `make cli-docs`")
    return 1


if __name__ == "__main__":
    sys.exit(main())

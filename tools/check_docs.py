#!/usr/bin/env python3
"""Checks that what the documents name exists. Usage: check_docs.py [ROOT]

Of README.md, CONTRIBUTING.md and docs/*.md:
- relative links lead to files;
- paths and file names in backticks are those of files or folders of the tree;
- identifiers in backticks (`svid()`, `LogitReduction::kPerToken`, `gemv_sign1_*`) occur in src/ or
  tools/, in the very file when one follows in parentheses: `svid()` (`src/quant/svid.h`).

Text with a placeholder (<name>, NAME, foo, …) is left alone. Exit status 1 and one line a finding.
"""
import pathlib
import re
import sys

LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")
QUOTED = re.compile(r"`([^`\n]+)`")
NAMES_IN_FILE = re.compile(r"((?:`[^`\n]+`, )*`[^`\n]+`) \(`([^`\n]+)`\)")
PLACEHOLDER = re.compile(r"[<>{}…]|\b(?:foo|NAME|OUT|FILE|MODEL|snake_case|UpperCamel|x_)")
RULE = re.compile(r"(?m)^\*\*Rule\*\*:(?:.+\n)+")  # binds what is still to come
FOLDERS = ("src", "tests", "tools", "docs", "cmake", ".ci", ".deps", "build", "bench", "demo")
FILE_NAME = re.compile(r"[\w./-]*\.(?:h|cc|cu|cuh|inc|py|sh|md|cmake|txt)")
IDENTIFIER = re.compile(r"(?:\w+::)*[A-Za-z_]\w*\*?(?:\(\))?")
MADE = ("build", ".deps", "demo")  # not part of the tree


def is_code_name(text: str) -> bool:
    """Whether it can only be meant as a name in the code, not as a word or a value."""
    camel = re.search(r"[a-z][A-Z]", text) is not None
    return IDENTIFIER.fullmatch(text) is not None and (camel or "_" in text or "(" in text)


def occurs(name: str, text: str) -> bool:
    parts = name.removesuffix("()").split("::")
    return all(re.search(rf"\b{re.escape(part.removesuffix('*'))}"
                         + ("" if part.endswith("*") else r"\b"), text) for part in parts)


class Checker:
    def __init__(self, root: pathlib.Path):
        self.root = root
        self.files = [path.relative_to(root) for folder in ("src", "tests", "tools", "docs", "cmake")
                      for path in (root / folder).rglob("*") if path.is_file()]
        self.files += [path.relative_to(root) for path in root.iterdir() if path.is_file()]
        self.code = "\n".join((root / path).read_text(errors="replace") for path in self.files
                              if path.suffix in {".h", ".cc", ".cu", ".cuh", ".inc", ".py", ".sh", ".cmake",
                                                 ".txt"}
                              and "golden" not in path.parts[1:2] and path.name != pathlib.Path(__file__).name)
        self.checked = 0

    def file_exists(self, name: str) -> bool:
        path = name.rstrip("/").rstrip("*")
        if (self.root / path).exists() or list(self.root.glob(name.rstrip("/"))):
            return True
        return any(str(file).endswith("/" + path) for file in self.files)

    def findings(self, document: pathlib.Path):
        text = (self.root / document).read_text()
        text = RULE.sub("", re.sub(r"(?ms)^```.*?^```", "", text))  # no examples, no help texts
        for match in LINK.finditer(text):
            target = match[1]
            if not re.match(r"[a-z]+:", target):
                self.checked += 1
                if not (self.root / document.parent / target).exists():
                    yield f"{document}: link to {target}, which does not exist"
        for match in QUOTED.finditer(text):
            yield from self.quoted(document, match[1])
        for match in NAMES_IN_FILE.finditer(text):
            file = self.root / match[2]
            for name in filter(is_code_name, QUOTED.findall(match[1])):
                if file.is_file():
                    self.checked += 1
                    if not occurs(name, file.read_text()):
                        yield f"{document}: {match[2]} has no {name}"

    def quoted(self, document: pathlib.Path, name: str):
        if PLACEHOLDER.search(name) or " " in name:
            return
        is_path = "/" in name and name.split("/")[0] in FOLDERS and name.split("/")[0] not in MADE
        if is_path or FILE_NAME.fullmatch(name):
            self.checked += 1
            if not self.file_exists(name):
                yield f"{document}: names {name}, which does not exist"
        elif is_code_name(name):
            self.checked += 1
            if not occurs(name, self.code):
                yield f"{document}: names {name}, which occurs nowhere in the code"


def main() -> int:
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    checker = Checker(root)
    documents = [pathlib.Path("README.md"), pathlib.Path("CONTRIBUTING.md"),
                 *sorted(path.relative_to(root) for path in (root / "docs").glob("*.md"))]
    found = [line for document in documents for line in checker.findings(document)]
    for line in found:
        print(line)
    print(f"{len(documents)} documents, {checker.checked} names checked, {len(found)} findings")
    return 1 if found or not checker.checked else 0


if __name__ == "__main__":
    sys.exit(main())

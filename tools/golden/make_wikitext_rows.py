#!/usr/bin/env python3
"""Golden cases for WikiText rows joined with two newlines: tests/golden/eval/wikitext_rows.json.

The rule is that of Hugging Face `datasets`' wikitext loader (wikitext.py, configurations *-raw-v1):

    with open(data_file, encoding="utf-8") as f:
        for idx, row in enumerate(f):
            if row.strip():
                yield idx, {"text": row}
            else:
                yield idx, {"text": ""}

followed by "\\n\\n".join(dataset["text"]), as GPTQ's and OneBit's evaluation code does. Needs Python 3
only. With the path of WikiText-2's wiki.test.raw as argument, its length and hash are written too.
"""
import hashlib
import io
import json
import pathlib
import platform
import sys


def rows(content: str) -> list[str]:
    return [row if row.strip() else "" for row in io.StringIO(content, newline="\n")]


CONTENTS = [
    "",
    "one line without newline",
    "one line\n",
    " \n",
    " \n = Title = \n \n Some text , with words . \n",
    "\n\n",
    " \n \n \n",
    " a \n\t\n b \n  \n",
    " = H = \n \n = = S = = \n last line",
    " \u00e9t\u00e9 \u2013 \u65e5\u672c \n \n \U0001f600 \n",
    "ends blank\n ",
]


def main() -> None:
    golden = {
        "provenance": f"tools/golden/make_wikitext_rows.py, Python {platform.python_version()}",
        "cases": [{"content": c, "joined": "\n\n".join(rows(c))} for c in CONTENTS],
    }
    if len(sys.argv) > 1:
        content = pathlib.Path(sys.argv[1]).read_bytes()
        joined = "\n\n".join(rows(content.decode())).encode()
        golden["wikitext2_test"] = {
            "content_sha256": hashlib.sha256(content).hexdigest(),
            "joined_bytes": len(joined),
            "joined_sha256": hashlib.sha256(joined).hexdigest(),
        }
    out = pathlib.Path(__file__).parents[2] / "tests/golden/eval/wikitext_rows.json"
    out.write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Jane Austen's six novels (public domain) out of Debian's package r-cran-janeaustenr, as the demo's
prose: five to train on, one kept out. Only the package's data file is read; R is not needed.

Usage: tools/novels.py FOLDER/usr/lib/R/site-library/janeaustenr/data/Rdata.rdb OUT_DIR
writes OUT_DIR/train.jsonl (a row a chapter) and OUT_DIR/held_out.txt.
"""
import json
import pathlib
import re
import struct
import sys
import zlib

HELD_OUT = "Persuasion"
HELD_OUT_CHARACTERS = 60_000  # 13,000 tokens or so


def strings(serialised: bytes):
    """The elements of one R character vector: serialisation format X, version 3."""
    if serialised[:2] != b"X\n":
        raise SystemExit("novels: found no R object in XDR format")
    native = struct.unpack_from(">i", serialised, 14)[0]
    at = 18 + native
    kind, count = struct.unpack_from(">ii", serialised, at)
    if kind & 0xFF != 16:
        raise SystemExit(f"novels: found an R object of type {kind & 0xFF}, expected strings (16)")
    at += 8
    for _ in range(count):
        _, length = struct.unpack_from(">ii", serialised, at)
        yield serialised[at + 8 : at + 8 + length].decode("utf-8")
        at += 8 + length


def books(database: bytes):
    """Title and lines of each novel: records of a length and a zlib stream."""
    at = 0
    while at < len(database):
        stream = zlib.decompressobj()
        content = stream.decompress(database[at + 4 :])
        lines = list(strings(content))
        yield lines[0], lines[1:]
        at = len(database) - len(stream.unused_data)


def paragraphs(lines):
    """Lines wrapped for print, joined."""
    text = "\n".join(line.strip() for line in lines)
    return [" ".join(p.split("\n")) for p in re.split(r"\n{2,}", text) if p.strip()]


def main():
    database, out = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    rows, held_out = [], ""
    for title, lines in books(database.read_bytes()):
        whole = "\n\n".join(paragraphs(lines))
        if title == HELD_OUT:
            held_out = whole[: whole.rfind("\n\n", 0, HELD_OUT_CHARACTERS)]
            continue
        rows += [c.strip() for c in re.split(r"(?m)^(?=chapter )", whole, flags=re.I) if len(c) > 500]
    if not held_out or len(rows) < 100:
        raise SystemExit(f"novels: found {len(rows)} chapters, expected the six novels")
    with open(out / "train.jsonl", "w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps({"text": row}, ensure_ascii=False) + "\n")
    (out / "held_out.txt").write_text(held_out, encoding="utf-8")


if __name__ == "__main__":
    main()

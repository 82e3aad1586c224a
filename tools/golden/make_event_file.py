#!/usr/bin/env python3
"""Golden TensorBoard event file, as TensorBoard's own writer makes it: tests/golden/events/events.bin.

Usage: tools/golden/make_event_file.py [OUT_DIR]

Needs tensorboard 2.20. The events are those of src/distill/event_file_test.cc. What the writer adds
for itself (the name of the software in the first record) is left out.
"""
import pathlib
import sys

from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.summary.writer.record_writer import RecordWriter


def scalars(*pairs):
    return summary_pb2.Summary(value=[summary_pb2.Summary.Value(tag=tag, simple_value=value)
                                      for tag, value in pairs])


EVENTS = [
    event_pb2.Event(wall_time=1700000000.25, file_version="brain.Event:2"),
    event_pb2.Event(wall_time=1700000001.5, step=0, summary=scalars(("held_out/kl", 11.0625))),
    event_pb2.Event(wall_time=1700000002.5, step=1,
                    summary=scalars(("train/loss", 3.14159), ("train/lr", 0.0))),
    event_pb2.Event(wall_time=1700000003.5, step=3000000000,
                    summary=scalars(("train/loss", -1e-30), ("t" * 200, float("inf")))),
]


def main():
    out = pathlib.Path(sys.argv[1] if len(sys.argv) == 2 else "tests/golden/events")
    out.mkdir(parents=True, exist_ok=True)
    with open(out / "events.bin", "wb") as file:
        writer = RecordWriter(file)
        for event in EVENTS:
            writer.write(event.SerializeToString())


if __name__ == "__main__":
    main()

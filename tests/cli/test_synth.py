"""`onebit synth`: the rows that it writes, what decides on them, and how an output can fail to appear."""
import json
import re
import signal
import subprocess
import time
import unittest

from harness import BOS, ONEBIT, SMOLLM, STORIES, TINY, CliTest, needs, packed, tiny


class Synth(CliTest):
    def rows(self, *flags, model=None):
        """The rows of a run, each an object of a text and its tokens."""
        out = self.dir / "out.jsonl"
        self.result = self.onebit("synth", model or tiny(), "-o", out, *flags)
        rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
        for row in rows:
            self.assertEqual(list(row), ["text", "tokens"])
        return rows

    def test_rows(self):
        rows = self.rows("--samples", "9", "--length", "16", "-s", "5")
        self.assertEqual(len(rows), 9)
        for row in rows:
            self.assertLessEqual(len(row["tokens"]), 16)
            self.assertLess(row["tokens"][0], BOS)  # a byte, no control token
            # The tiny model's tokens are bytes; each that is no part of a character is replaced.
            text = bytes(t for t in row["tokens"] if t < BOS).decode(errors="surrogateescape")
            self.assertEqual(row["text"], re.sub("[\udc80-\udcff]", "\ufffd", text))
        total = sum(len(row["tokens"]) for row in rows)
        self.assertRegex(self.result.out, rf"\Awrote .*out.jsonl: 9 texts, {total} tokens in "
                                          r"[\d.]+ s, [\d.]+ tokens/s\n\Z")

    def test_the_seed_decides_and_nothing_else(self):
        flags = ("--samples", "6", "--length", "20")
        rows = self.rows(*flags, "-s", "5")
        self.assertEqual(self.rows(*flags, "-s", "5", "-t", "1"), rows)
        self.assertEqual(self.rows(*flags, "-s", "5", "-t", "3", "--batch", "2"), rows)
        self.assertEqual(self.rows("--samples", "2", "--length", "20", "-s", "5"), rows[:2])
        self.assertNotEqual(self.rows(*flags, "-s", "6"), rows)

    def test_greedy_after_the_first_token(self):
        rows = self.rows("--samples", "40", "--length", "12", "--temp", "0", "-s", "1")
        said = {row["tokens"][0]: row["tokens"] for row in rows}
        for row in rows:  # the same beginning, the same text
            self.assertEqual(row["tokens"], said[row["tokens"][0]])

    def test_part_of_another_run(self):
        part = self.write("out.jsonl.part", json.dumps({"header": {"program": "another"}}) + "\n")
        flags = ("--samples", "2", "--length", "20")
        self.fails("synth", tiny(), "-o", self.dir / "out.jsonl", *flags,
                   says=[str(part), "another run", 'program "another"', "--restart"])
        self.rows(*flags, "--restart")
        self.assertEqual(self.files(), ["out.jsonl"])
        self.write("out.jsonl.part", "no header\n")
        self.fails("synth", tiny(), "-o", self.dir / "out.jsonl", *flags, says=["line 1: found 'no header'", "--restart"])

    @needs(SMOLLM)
    def test_what_is_done_is_kept(self):
        out = self.write("a.jsonl", "before")
        part = self.dir / "a.jsonl.part"
        flags = ("--length", "12", "--batch", "2")
        command = [ONEBIT, "synth", SMOLLM, "-o", out, "--samples", "1000", *flags]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline and (not part.exists() or part.read_text().count("\n") < 4):
                time.sleep(0.05)
            child.send_signal(signal.SIGINT)
            _, err = child.communicate(timeout=120)
        self.assertEqual(child.returncode, 130)
        self.assertIn(f"error: synth was interrupted; texts that are done are in {part}, the same".encode(), err)
        self.assertEqual((out.read_text(), self.files()), ("before", ["a.jsonl", "a.jsonl.part"]))
        for other in ('activations "i8", expected "f32"', 'kv_type "f16", expected "f32"'):
            name = other.split()[0].replace("_", "-")
            self.fails("synth", SMOLLM, "-o", out, "--samples", "1000", *flags, f"--{name}", "f32",
                       says=[str(part), "another run", other, "--restart"])
        samples = part.read_text().count("\n") + 1  # two more: a line of them is the header
        with part.open("a") as file:
            file.write('{"text": "what a killed process has lef')
        said = self.onebit("synth", SMOLLM, "-o", out, "--samples", samples, *flags, "--json").json()
        rows = [json.loads(line) for line in out.read_text().splitlines()]
        self.assertEqual((said["samples"], said["tokens"]), (samples, sum(len(row["tokens"]) for row in rows)))
        self.assertLess(said["generated_tokens"], 3 * 12)
        self.assertEqual(self.rows("--samples", samples, *flags, "-s", said["seed"], model=SMOLLM), rows)
        self.assertEqual(self.files(), ["a.jsonl", "out.jsonl"])

    def test_json(self):
        out = self.dir / "a.jsonl"
        said = self.onebit("synth", tiny(), "-o", out, "--samples", "3", "--length", "8", "-s", "4",
                           "--json").json()
        self.assertEqual((said["model"], said["output"], said["seed"], said["samples"]),
                         (str(tiny()), str(out), 4, 3))
        # The tiny model's tokenizer adds no BOS: all tokens but the first are the model's.
        self.assertEqual(said["generated_tokens"], said["tokens"] - 3)

    def test_packed_teacher(self):
        self.assertEqual(len(self.rows("--samples", "3", "--length", "8", model=packed(tiny()))), 3)

    @needs(STORIES)
    def test_real_text(self):
        rows = self.rows("--samples", "20", "--length", "100", "-s", "1", model=STORIES)
        words = " ".join(row["text"] for row in rows).split()
        self.assertGreater(sum(word in ("the", "to", "and", "was", "a") for word in words),
                           len(words) / 10)


class Failures(CliTest):
    def test_teacher_is_not_replaced(self):
        model = self.write("m.gguf", packed(tiny()).read_bytes())
        self.fails("synth", model, "-o", model, says=[str(model), "another place"])
        self.assertEqual(model.read_bytes(), packed(tiny()).read_bytes())

    def test_longer_than_the_context(self):
        self.fails("synth", tiny(), "-o", self.dir / "a.jsonl", "--length", TINY["context"] + 1,
                   says=["--length", "129", "2 to 128", str(tiny())])
        self.assertEqual(self.files(), [])

    def test_no_place_to_write(self):
        self.fails("synth", tiny(), "--length", "16", "-o", self.dir / "missing" / "a.jsonl",
                   says="missing")

    def test_usage(self):
        self.fails("synth", tiny(), expect=2, says="--output")
        self.fails("synth", tiny(), "-o", self.dir / "a", "--samples", "0", expect=2, says="--samples")
        self.fails("synth", "-o", self.dir / "a", expect=2, says="TEACHER")
        self.assertEqual(self.files(), [])

    def test_teacher_that_is_none(self):
        self.fails("synth", self.write("m.gguf", "x"), "-o", self.dir / "a.jsonl", says="m.gguf")
        self.assertEqual(self.files(), ["m.gguf"])


if __name__ == "__main__":
    unittest.main()

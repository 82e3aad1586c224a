"""`onebit perplexity`: its fixed last line, both protocols, rows, and divergence from a teacher.

Tokens of the tiny models are bytes, so that every count is known. A model of zero weights finds all
tokens equally likely: its perplexity is the size of the vocabulary.
"""
import json
import re
import signal
import subprocess
import unittest

from harness import (ONEBIT, ROOT, SMOLLM, STORIES, TINY, TOOLKIT, CliTest, needs, packed, tiny)

FINAL = re.compile(r"\AFinal estimate: PPL = (\d+\.\d{4}) \+/- (\d+\.\d{4})\Z")
WIKITEXT = ROOT.parent / "shared" / "data" / "wikitext2" / "wiki.test.raw"
PROSE = "It was a bright cold day in April, and the clocks were striking thirteen. " * 6


class Perplexity(CliTest):
    def final(self, result):
        match = FINAL.match(result.lines[-1])
        self.assertTrue(match, result.out)
        return float(match[1]), float(match[2])

    def test_uniform_model(self):
        text = self.write("text.txt", PROSE)
        for protocol in ("paper", "llama.cpp"):
            result = self.onebit("perplexity", tiny("zero", zero=True), "-f", text, "-c", "32",
                                 "--protocol", protocol)
            self.assertEqual(self.final(result), (TINY["vocab"], 0))

    def test_windows_of_both_protocols(self):
        text = self.write("text.txt", PROSE)
        windows = len(PROSE) // 32
        for protocol, scored in (("paper", 31), ("llama.cpp", 15)):
            said = self.onebit("perplexity", tiny(), "-f", text, "-c", "32", "--protocol", protocol,
                               "--json").json()
            self.assertEqual((said["tokens"], said["windows"], said["scored"]),
                             (len(PROSE), windows, windows * scored))
            self.assertEqual((said["window"], said["protocol"]), (32, protocol))

    def test_json_says_the_same(self):
        text = self.write("text.txt", PROSE)
        value, error = self.final(self.onebit("perplexity", tiny(), "-f", text, "-c", "64"))
        said = self.onebit("perplexity", tiny(), "-f", text, "-c", "64", "--json").json()
        self.assertAlmostEqual(said["ppl"], value, delta=5.1e-5)
        self.assertAlmostEqual(said["ppl_stderr"], error, delta=5.1e-5)
        self.assertGreater(error, 0)

    def test_threads_do_not_matter(self):
        text = self.write("text.txt", PROSE)
        results = [self.onebit("perplexity", tiny(), "-f", text, "-c", "64", "-t", n).out
                   for n in (1, 3)]
        self.assertEqual(*results)

    def test_max_windows(self):
        text = self.write("text.txt", PROSE)
        said = self.onebit("perplexity", tiny(), "-f", text, "-c", "32", "--max-windows", "2",
                           "--json").json()
        self.assertEqual((said["windows"], said["scored"]), (2, 62))


class Rows(CliTest):
    """How a file becomes one text: the count of tokens tells, since a token is a byte."""
    LINES = [" \n", " = Title = \n", " \n", " First line , of many .\n", " Second one .\n"]

    def tokens(self, path, *flags):
        return self.onebit("perplexity", tiny("zero", zero=True), "-f", path, "-c", "2", "--json",
                           *flags).json()["tokens"]

    def test_raw(self):
        path = self.write("wiki.raw", "".join(self.LINES))
        joined = "\n\n".join("" if line == " \n" else line for line in self.LINES)
        self.assertEqual(self.tokens(path), len(joined))
        self.assertEqual(self.tokens(path, "--rows", "whole"), len("".join(self.LINES)))

    def test_other_text_is_one_row(self):
        text = "".join(self.LINES)
        path = self.write("wiki.txt", text)
        self.assertEqual(self.tokens(path), len(text))
        wikitext = self.tokens(path, "--rows", "wikitext")
        self.assertEqual(wikitext, self.tokens(self.write("wiki.raw", text)))

    def test_jsonl(self):
        documents = ["One document.", "Another,\nof two lines.", "Žluťoučký kůň"]
        path = self.write("c4.jsonl", "".join(json.dumps({"text": d, "id": 7}) + "\n"
                                              for d in documents))
        self.assertEqual(self.tokens(path), len("\n\n".join(documents).encode()))

    def test_jsonl_that_is_none(self):
        for line, says in (("not JSON", "not JSON"), ('{"body": "x"}', "without"),
                           ("[1]", "array")):
            path = self.write("bad.jsonl", '{"text": "fine"}\n' + line + "\n")
            self.fails("perplexity", tiny(), "-f", path, "-c", "2",
                       says=[str(path), "line 2", says])

    @needs(WIKITEXT)
    @needs(SMOLLM)
    def test_wikitext_2(self):
        said = self.onebit("perplexity", SMOLLM, "-f", WIKITEXT, "-c", "32", "--max-windows", "1",
                           "--json").json()
        self.assertEqual(said["tokens"], 304_978)


@needs(TOOLKIT)
class Teacher(CliTest):
    def test_itself(self):
        text = self.write("text.txt", PROSE)
        result = self.onebit("perplexity", tiny(), "-f", text, "-c", "32", "--kl-teacher", tiny())
        self.assertEqual(result.lines[1:4], ["Mean KL = 0.000000 +/- 0.000000",
                                             "KL p99 = 0.000000", "Same top = 100.000 %"])
        self.assertRegex(result.lines[-1], FINAL)

    def test_rounded_keys_and_values(self):
        """What is measured is exact unless it is asked for otherwise; what it is compared with always."""
        text = self.write("text.txt", PROSE)
        kl = {kind: self.onebit("perplexity", tiny(), "-f", text, "-c", "32", "--kl-teacher", tiny(),
                                "--kv-type", kind, "--json").json()["kl_mean"]
              for kind in ("f32", "f16", "q8_0")}
        self.assertEqual(kl["f32"], 0)
        self.assertGreater(kl["f16"], 0)
        self.assertGreater(kl["q8_0"], kl["f16"])
        self.assertLess(kl["q8_0"], 1e-3)

    def test_packed_student(self):
        text = self.write("text.txt", PROSE)
        said = self.onebit("perplexity", packed(tiny()), "-f", text, "-c", "32", "--kl-teacher",
                           tiny(), "--json").json()
        self.assertGreater(said["kl_mean"], 0)
        self.assertGreater(said["kl_p99"], said["kl_mean"])
        self.assertLess(said["same_top"], 1)
        self.assertEqual(said["teacher"], str(tiny()))

    def test_divergence_from_a_uniform_teacher(self):
        """KL(u ‖ m) = -log V - mean log m, and so above 0 for the random model."""
        text = self.write("text.txt", PROSE)
        zero = tiny("zero", zero=True)
        said = self.onebit("perplexity", zero, "-f", text, "-c", "32", "--kl-teacher", zero,
                           "--json").json()
        self.assertEqual((said["kl_mean"], said["same_top"]), (0, 1))
        other = self.onebit("perplexity", tiny(), "-f", text, "-c", "32", "--kl-teacher", zero,
                            "--json").json()
        self.assertGreater(other["kl_mean"], 0)

    def test_other_vocabulary(self):
        text = self.write("text.txt", PROSE)
        self.fails("perplexity", tiny(), "-f", text, "-c", "32", "--kl-teacher",
                   tiny("wide", vocab=300), says=["--kl-teacher", "300", "260"])

    @needs(STORIES)
    def test_real_student(self):
        """Form `paper` and `foldable` of one start, in both protocols."""
        text = self.write("text.txt", "Once upon a time, there was a little girl named Lily. " * 20)
        full = self.ppl(STORIES, text)
        for form in ("paper", "foldable"):
            self.assertGreater(self.ppl(packed(STORIES, "--form", form), text), 3 * full)

    def ppl(self, model, text):
        return self.onebit("perplexity", model, "-f", text, "-c", "128", "--json").json()["ppl"]


class Engines(CliTest):
    @needs(TOOLKIT)
    def test_torch_finds_the_same(self):
        """Sums of f32 in another order, over a few layers."""
        text = self.write("text.txt", PROSE)
        for model in (tiny(), packed(tiny())):
            for protocol in ("paper", "llama.cpp"):
                flags = ("-f", text, "-c", "32", "--protocol", protocol, "--json")
                ours = self.onebit("perplexity", model, *flags).json()
                torch = self.onebit("perplexity", model, *flags, "--engine", "torch").json()
                self.assertEqual((ours["engine"], torch["engine"]), ("runtime", "torch"))
                self.assertAlmostEqual(torch["ppl"] / ours["ppl"], 1, delta=1e-5)
                self.assertEqual(torch["scored"], ours["scored"])

    @needs(TOOLKIT)
    def test_teacher_on_torch(self):
        text = self.write("text.txt", PROSE)
        flags = ("-f", text, "-c", "32", "--kl-teacher", tiny(), "--json")
        ours = self.onebit("perplexity", packed(tiny()), *flags).json()
        torch = self.onebit("perplexity", packed(tiny()), *flags, "--engine", "torch").json()
        self.assertAlmostEqual(torch["kl_mean"] / ours["kl_mean"], 1, delta=1e-4)

    @needs(TOOLKIT)
    def test_torch_does_not_round(self):
        text = self.write("text.txt", PROSE)
        for flag, word in (("--activations", "i8"), ("--kv-type", "f16")):
            self.fails("perplexity", tiny(), "-f", text, "-c", "32", "--engine", "torch", flag, word,
                       expect=2, says=[f"{flag} {word}", "--engine torch", "expected f32"])
        self.onebit("perplexity", tiny(), "-f", text, "-c", "32", "--engine", "torch", "--kv-type",
                    "f32")

    def test_torch_without_the_toolkit(self):
        alone = self.dir / "onebit"
        alone.write_bytes(ONEBIT.read_bytes())
        alone.chmod(0o755)
        done = subprocess.run([alone, "perplexity", tiny(), "-f", "t", "--engine", "torch"],
                              capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r"\Aonebit: error: 'perplexity --engine torch' needs "
                                      r"onebit-toolkit, which is neither in [^\n]+\n\Z")


class Failures(CliTest):
    def test_missing_text(self):
        self.fails("perplexity", tiny(), "-f", self.dir / "absent.txt",
                   says=[str(self.dir / "absent.txt"), "No such file"])

    def test_text_shorter_than_a_window(self):
        for text in ("short", ""):
            path = self.write("short.txt", text)
            self.fails("perplexity", tiny(), "-f", path, "-c", "128",
                       says=[str(path), f"found {len(text)} tokens", "window of 128", "-c"])

    def test_window_longer_than_the_context(self):
        path = self.write("text.txt", PROSE)
        self.fails("perplexity", tiny(), "-f", path,
                   says=[str(tiny()), "2048 tokens", "at most 128", "-c"])

    def test_window_without_a_prediction(self):
        path = self.write("text.txt", PROSE)
        self.fails("perplexity", tiny(), "-f", path, "-c", "1", expect=2,
                   says=["--ctx-size", "'1'", "at least 2"])
        self.fails("perplexity", tiny(), "-f", path, "-c", "2", "--protocol", "llama.cpp", expect=2,
                   says=["--ctx-size", "at least 3"])

    def test_missing_teacher(self):
        path = self.write("text.txt", PROSE)
        self.fails("perplexity", tiny(), "-f", path, "--kl-teacher", self.dir / "absent",
                   says=["absent", "no such file or folder"])

    def test_other_device(self):
        path = self.write("text.txt", PROSE)
        self.fails("perplexity", tiny(), "-f", path, "--device", "cuda", says=["cuda", "cpu"])

    @needs(SMOLLM)
    def test_interrupt(self):
        text = self.write("text.txt", PROSE * 100)
        command = [ONEBIT, "perplexity", SMOLLM, "-f", text, "-c", "64", "--log-level", "debug"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
            child.stderr.readline()  # "… loaded in …"
            child.send_signal(signal.SIGINT)
            out, err = child.communicate(timeout=120)
        self.assertEqual((child.returncode, out), (130, b""))
        self.assertEqual(err.decode(), "onebit: error: perplexity was interrupted\n")


if __name__ == "__main__":
    unittest.main()

"""`onebit perplexity`: its fixed last line, both protocols, strides, rows, and divergence from a
teacher, live or in a file.

Tokens of the tiny models are bytes, so that every count is known. A model of zero weights finds all
tokens equally likely: its perplexity is the size of the vocabulary.
"""
import json
import math
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

    def test_output_file(self):
        """-o writes the object of --json, whole, and prints as without it."""
        text, out = self.write("text.txt", PROSE), self.dir / "result.json"
        said = self.onebit("perplexity", tiny(), "-f", text, "-c", "64", "-o", out)
        self.final(said)
        both = self.onebit("perplexity", tiny(), "-f", text, "-c", "64", "-o", out, "--json").json()
        self.assertEqual(json.loads(out.read_text()), both)
        self.assertEqual(both["model_info"]["path"], str(tiny()))
        self.assertRegex(both["program"], r"\Aonebit \d")
        self.assertEqual(self.files(), ["result.json", "text.txt"])

    def test_max_windows(self):
        text = self.write("text.txt", PROSE)
        said = self.onebit("perplexity", tiny(), "-f", text, "-c", "32", "--max-windows", "2",
                           "--json").json()
        self.assertEqual((said["windows"], said["scored"]), (2, 62))


class Strides(CliTest):
    def test_every_token_is_scored_once(self):
        text = self.write("text.txt", PROSE)
        for stride in (1, 7, 31):
            said = self.onebit("perplexity", tiny("zero", zero=True), "-f", text, "-c", "32",
                               "--stride", stride, "--json").json()
            self.assertEqual((said["scored"], said["stride"]), (len(PROSE) - 1, stride))
            self.assertEqual(said["windows"], 1 + -(-(len(PROSE) - 32) // stride))
            self.assertAlmostEqual(said["ppl"], TINY["vocab"], places=9)

    def test_a_stride_of_the_window(self):
        """That is the paper's protocol with the partial last window."""
        text = self.write("text.txt", PROSE[:64 * 5 + 20])
        whole = self.onebit("perplexity", tiny(), "-f", text, "-c", "64", "--stride", "64",
                            "--max-windows", "5", "--json").json()
        paper = self.onebit("perplexity", tiny(), "-f", text, "-c", "64", "--json").json()
        self.assertEqual((whole["ppl"], whole["scored"]), (paper["ppl"], paper["scored"]))
        self.assertNotIn("stride", paper)
        longer = self.onebit("perplexity", tiny(), "-f", text, "-c", "64", "--stride", "64",
                             "--json").json()
        self.assertEqual(longer["scored"], paper["scored"] + 19)

    @needs(STORIES)
    def test_against_transformers(self):
        golden = json.loads((ROOT / "tests/golden/eval/strides.json").read_text())
        text = self.write("text.txt", golden["text"])
        self.assertGreater(len(golden["cases"]), 4)
        for case in golden["cases"]:
            said = self.onebit("perplexity", STORIES, "-f", text, "-c", case["window"], "--stride",
                               case["stride"], "--json").json()
            self.assertEqual({key: said[key] for key in ("windows", "scored", "tokens")},
                             {"windows": case["windows"], "scored": case["scored"],
                              "tokens": golden["tokens"]})
            self.assertAlmostEqual(said["mean_nll"], case["mean_nll"], delta=1e-5)

    def test_wrong_strides(self):
        text = self.write("text.txt", PROSE)
        self.fails("perplexity", tiny(), "-f", text, "-c", "32", "--stride", "33", expect=2,
                   says=["--stride", "found 33", "at most 32"])
        self.fails("perplexity", tiny(), "-f", text, "-c", "32", "--stride", "-1", expect=2,
                   says=["--stride", "at least 0"])
        self.fails("perplexity", tiny(), "-f", text, "-c", "32", "--stride", "8", "--protocol",
                   "llama.cpp", expect=2, says=["--stride", "found 8", "llama.cpp"])


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

    def test_the_rule_that_was_used_is_said(self):
        for name, flags, rows in (("wiki.raw", (), "wikitext"), ("wiki.raw", ("--protocol", "llama.cpp"), "whole"),
                                  ("wiki.txt", (), "whole"), ("wiki.txt", ("--rows", "wikitext"), "wikitext")):
            path = self.write(name, "".join(self.LINES))
            said = self.onebit("perplexity", tiny("zero", zero=True), "-f", path, "-c", "4", *flags, "--json").json()
            self.assertEqual(said["rows"], rows)

    def test_raw_by_llama_cpp(self):
        """It reads a file as it is, up to one newline at its end."""
        for end, dropped in (("", 1), ("\n", 1), ("x", 0)):
            content = "".join(self.LINES) + end
            path = self.write("wiki.raw", content)
            tokens = self.onebit("perplexity", tiny("zero", zero=True), "-f", path, "-c", "3",
                                 "--protocol", "llama.cpp", "--json").json()["tokens"]
            self.assertEqual(tokens, len(content) - dropped)

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


class Teacher(CliTest):
    def test_itself(self):
        text = self.write("text.txt", PROSE)
        result = self.onebit("perplexity", tiny(), "-f", text, "-c", "32", "--kl-teacher", tiny())
        self.assertEqual(result.lines[1:5], [
            "Mean KL = 0.000000 +/- 0.000000",
            "KL median = 0.000000, p99 = 0.000000, p99.9 = 0.000000, max = 0.000000",
            "Same top = 100.000 +/- 0.000 %",
            "Mean Δp = 0.000 +/- 0.000 %, RMS Δp = 0.000 +/- 0.000 %"])
        ppl = FINAL.match(result.lines[-1])[1]
        self.assertEqual(result.lines[5],
                         f"Teacher's PPL = {ppl}, ln(PPL / teacher's) = 0.000000 +/- 0.000000")
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

    def test_figures_belong_together(self):
        text = self.write("text.txt", PROSE)
        zero = tiny("zero", zero=True)
        said = self.onebit("perplexity", tiny(), "-f", text, "-c", "32", "--kl-teacher", zero,
                           "--json").json()
        self.assertLess(said["kl_median"], said["kl_p99"])
        self.assertLessEqual(said["kl_p99"], said["kl_p999"])
        self.assertLessEqual(said["kl_p999"], said["kl_max"])
        share, count = said["same_top"], said["scored"]
        self.assertAlmostEqual(said["same_top_stderr"], (share * (1 - share) / (count - 1)) ** 0.5)
        self.assertAlmostEqual(said["teacher_ppl"], TINY["vocab"], places=9)
        self.assertAlmostEqual(said["log_ppl_ratio"],
                               math.log(said["ppl"] / said["teacher_ppl"]), places=12)
        self.assertGreaterEqual(said["delta_p_rms"], abs(said["delta_p_mean"]))
        self.assertEqual(said["teacher_info"]["name"], "zero")
        self.assertRegex(said["teacher_info"]["sha256"], r"\A[0-9a-f]{64}\Z")

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


FIGURES = ("ppl", "kl_mean", "kl_stderr", "kl_median", "kl_p99", "kl_p999", "kl_max", "same_top",
           "delta_p_mean", "delta_p_rms", "teacher_ppl", "log_ppl_ratio")


class Base(CliTest):
    """--kl-base: the teacher's log-probabilities in a file."""

    def measure(self, *flags, model=None):
        return self.onebit("perplexity", model or tiny("other", seed=2), "-f", self.text, "-c", "32",
                           *flags, "--json").json()

    def setUp(self):
        super().setUp()
        self.text = self.write("text.txt", PROSE)
        self.base = self.dir / "base.kld"

    def test_a_second_run_needs_no_teacher(self):
        for flags in ((), ("--stride", "20"), ("--protocol", "llama.cpp")):
            self.base.unlink(missing_ok=True)
            written = self.measure("--kl-teacher", tiny(), "--kl-base", self.base, *flags)
            self.assertEqual(self.files(), ["base.kld", "text.txt"])
            read = self.measure("--kl-base", self.base, *flags)
            again = self.measure("--kl-teacher", tiny(), "--kl-base", self.base, *flags)
            live = self.measure("--kl-teacher", tiny(), *flags)
            for key in FIGURES:
                self.assertEqual(written[key], read[key], key)
                self.assertEqual(written[key], again[key], key)
            # What 16 bits round: half a step of 16 / 65535 nats at most, far less in a mean.
            self.assertGreater(live["kl_mean"], 0.01)
            self.assertAlmostEqual(live["kl_mean"], read["kl_mean"], delta=1e-5)
            self.assertAlmostEqual(live["kl_max"], read["kl_max"], delta=2e-4)
            self.assertEqual(live["same_top"], read["same_top"])
            self.assertEqual((read["teacher"], read["kl_base"]), (str(tiny()), str(self.base)))
            self.assertEqual(read["teacher_info"], live["teacher_info"])
            self.assertNotIn("kl_base", live)

    def test_the_teacher_is_not_loaded_again(self):
        self.measure("--kl-teacher", tiny(), "--kl-base", self.base)
        first = self.onebit("perplexity", tiny("other", seed=2), "-f", self.text, "-c", "32",
                            "--kl-teacher", tiny(), "--kl-base", self.base, "--log-level", "debug")
        self.assertIn("it is not loaded", first.err)
        self.assertEqual(first.err.count("loaded in"), 1)

    def test_says_how_much_it_writes(self):
        said = self.onebit("perplexity", tiny(), "-f", self.text, "-c", "32", "--kl-teacher", tiny(),
                           "--kl-base", self.base)
        self.assertRegex(said.err, r"writing \d+\.\d kB of log-probabilities to .*base\.kld")

    def test_beginning_of_more_windows(self):
        self.measure("--kl-teacher", tiny(), "--kl-base", self.base)
        two = self.measure("--kl-base", self.base, "--max-windows", "2")
        live = self.measure("--kl-teacher", tiny(), "--max-windows", "2")
        self.assertEqual(two["scored"], 62)
        self.assertAlmostEqual(two["kl_mean"], live["kl_mean"], delta=1e-5)

    def test_a_file_of_something_else(self):
        self.measure("--kl-teacher", tiny(), "--kl-base", self.base, "--max-windows", "3")
        kept = self.base.read_bytes()
        other = self.write("other.txt", PROSE.replace("bright", "bleak"))
        for says, flags in ((["found log-probabilities of 3 windows", f"{len(PROSE) // 32} or more"], []),
                            (["protocol paper, expected llama.cpp"], ["--protocol", "llama.cpp"]),
                            (["windows of 32 tokens, expected 64"], ["-c", "64"]),
                            (["without a stride, expected some of the stride 8"], ["--stride", "8"]),
                            (["another text or tokenizer"], ["-f", other, "--max-windows", "3"]),
                            ([str(tiny()), str(tiny("zero", zero=True)), "sha256"],
                             ["--max-windows", "3", "--kl-teacher", tiny("zero", zero=True)])):
            arguments = {"-f": self.text, "-c": "32"}
            arguments.update(zip(flags[::2], flags[1::2]))
            self.fails("perplexity", tiny(), *(x for pair in arguments.items() for x in pair),
                       "--kl-base", self.base, says=[str(self.base), *says])
            self.assertEqual(self.base.read_bytes(), kept)

    def test_broken_files(self):
        self.fails("perplexity", tiny(), "-f", self.text, "-c", "32", "--kl-base", self.base,
                   says=["--kl-base", str(self.base), "no such file", "--kl-teacher"])
        self.base.write_bytes(b"something else")
        self.fails("perplexity", tiny(), "-f", self.text, "-c", "32", "--kl-base", self.base,
                   says=[str(self.base), "found no log-probabilities"])
        self.base.unlink()
        self.measure("--kl-teacher", tiny(), "--kl-base", self.base)
        whole = self.base.read_bytes()
        self.base.write_bytes(whole[:-1])
        self.fails("perplexity", tiny(), "-f", self.text, "-c", "32", "--kl-base", self.base,
                   says=[str(self.base), "it is cut off"])
        self.base.write_bytes(whole[:-1000] + bytes(1000))  # a hole, as after a crash
        self.fails("perplexity", tiny(), "-f", self.text, "-c", "32", "--kl-base", self.base,
                   says=[str(self.base), "row ", "expected those of log-probabilities"])

    def test_a_file_of_llama_cpp(self):
        """Its files end behind the rows: they do not say whose they are."""
        flags = ("--protocol", "llama.cpp")
        self.measure("--kl-teacher", tiny(), "--kl-base", self.base, *flags)
        whole = self.base.read_bytes()
        self.base.write_bytes(whole[:whole.rindex(b'{"format"')])
        read = self.measure("--kl-base", self.base, *flags)
        self.assertEqual(read["teacher"], str(self.base))
        self.assertNotIn("teacher_info", read)
        self.fails("perplexity", tiny(), "-f", self.text, "-c", "32", "--kl-teacher", tiny(),
                   "--kl-base", self.base, *flags,
                   says=[str(self.base), "no word on whose log-probabilities", "leave out --kl-teacher"])

    def test_outputs_are_no_inputs(self):
        for flags in (("-o", self.text), ("--kl-base", self.text), ("--kl-base", self.base, "-o", self.base),
                      ("-o", tiny() / "config.json")):
            self.fails("perplexity", tiny(), "-f", self.text, "-c", "32", "--kl-teacher", tiny(), *flags,
                       says=["expected another place to write to"])
        self.assertEqual(self.text.read_text(), PROSE)

    def test_no_place_to_write(self):
        for flag in ("-o", "--kl-base"):
            self.fails("perplexity", tiny(), "-f", self.text, "-c", "32", "--kl-teacher", tiny(), flag,
                       self.dir / "absent" / "file", says=["cannot create", "No such file"])

    @needs(SMOLLM)
    def test_an_interrupt_leaves_nothing(self):
        text = self.write("text.txt", PROSE * 100)
        command = [ONEBIT, "perplexity", SMOLLM, "-f", text, "-c", "64", "--kl-teacher", SMOLLM,
                   "--kl-base", self.base, "-o", self.dir / "out.json"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
            child.stderr.readline()  # "writing …"
            child.send_signal(signal.SIGINT)
            child.communicate(timeout=120)
        self.assertEqual(child.returncode, 130)
        self.assertEqual(self.files(), ["text.txt"])


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
        self.fails("perplexity", tiny(), "-f", path, "-c", "32", "--kl-teacher", self.dir / "absent",
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

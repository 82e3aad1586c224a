"""`onebit sensitivity`: its table and totals, the files it writes, runs that are broken off, and what
cannot be measured.

Tokens of the tiny models are bytes. What the figures are is checked against transformers on stories260K
(tools/golden/make_sensitivity.py) and, for SmolLM2, in tools/accept/sensitivity.py.
"""
import copy
import hashlib
import json
import math
import os
import pathlib
import re
import resource
import shutil
import signal
import subprocess
import unittest
import xml.etree.ElementTree

from harness import ONEBIT, ROOT, STORIES, TINY, TOOLKIT, CliTest, needs, packed, tiny

PROSE = "It was a bright cold day in April, and the clocks were striking thirteen. " * 6
ROLES = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"]
GOLDEN = ROOT / "tests/golden/sensitivity/stories260k.json"
SVG = "{http://www.w3.org/2000/svg}"
WINDOW = 32
EPSILON = 1e-4  # what f32 moves logits by, and mean KL by 2 EPSILON (sqrt(2 KL) + KL): quant/sensitivity.h


def bound(kl):
    return 2 * EPSILON * (math.sqrt(2 * kl) + kl) + EPSILON**2


@needs(TOOLKIT)
class Sensitivity(CliTest):
    def setUp(self):
        super().setUp()
        self.text = self.write("text.txt", PROSE)

    def command(self, *flags, model=None, window=WINDOW):
        return ["sensitivity", model or tiny(), "-f", self.text, "-c", window, *flags]

    def measure(self, *flags, **how):
        return self.onebit(*self.command(*flags, **how), "--json").json()


class Figures(Sensitivity):
    def table(self, lines):
        """The rows up to the first empty line: matrix, method, KL, error, PPL, …"""
        self.assertEqual(lines[0].split(), ["matrix", "method", "KL", "+/-", "PPL", "rel.", "error", "out.",
                                            "error", "bits/weight", "saved"])
        return [line.split() for line in lines[1:lines.index("")]]

    def test_table_and_totals(self):
        lines = self.onebit(*self.command()).lines
        rows = self.table(lines)
        self.assertEqual(sorted(row[0] for row in rows), sorted(f"blk.{i}.{r}" for i in (0, 1) for r in ROLES))
        kl = [float(row[2]) for row in rows]
        self.assertEqual(kl, sorted(kl, reverse=True))
        self.assertGreater(kl[-1], 0)
        sections = "\n".join(lines).split("\n\n")[1:]
        for section, name, count in ((sections[0], "role", 7), (sections[1], "layer", 2)):
            head, *body = section.splitlines()
            self.assertEqual(head.split()[0], name)
            self.assertEqual(len(body), count)
            sums = [float(line.split()[2]) for line in body]
            self.assertAlmostEqual(sum(sums), sum(kl), delta=1e-5)
            self.assertAlmostEqual(sum(float(line.split()[3]) for line in body), 100, delta=0.5)
        self.assertRegex(sections[2], r"\Afull precision: PPL \d+\.\d{4} \+/- \d+\.\d{4}; 124 predictions, "
                                      r"4 windows of 32; 14 matrices in \d+\.\d s\Z")

    def test_order_of_the_model(self):
        rows = self.table(self.onebit(*self.command("--sort", "layer")).lines)
        self.assertEqual([row[0] for row in rows], [f"blk.{i}.{r}" for i in (0, 1) for r in ROLES])

    def test_json_says_the_same(self):
        said = self.measure("--max-windows", "2")
        self.assertEqual((said["window"], said["windows"], said["positions"]), (WINDOW, 2, 62))
        self.assertEqual((said["model"], said["file"]), (str(tiny()), str(self.text)))
        self.assertRegex(said["program"], r"\Aonebit \d")
        self.assertTrue(said["command"].startswith(f"onebit sensitivity {tiny()} -f {self.text} -c 32"))
        self.assertEqual(said["model_info"]["architecture"], "llama")
        self.assertEqual(said["settings"], [{"method": "onebit", "nominal_bits": 1, "form": "free",
                                             "group_size": 0, "init": "nmf", "split": "rms", "scales": "f16",
                                             "symmetric": False, "affine": False, "per_tensor": False, "clip": 1.0}])
        shown = {row[0]: row for row in self.table(self.onebit(*self.command("--max-windows", "2")).lines)}
        self.assertEqual([row["matrix"] for row in said["rows"]], [f"blk.{i}.{r}" for i in (0, 1) for r in ROLES])
        for row in said["rows"]:
            layer, role = re.fullmatch(r"blk\.(\d)\.(\w+)", row["matrix"]).groups()
            self.assertEqual((row["layer"], row["role"], row["method"]), (int(layer), role, "onebit"))
            out, width = row["shape"]
            self.assertEqual(row["bytes"], out * 8 * -(-width // 64) + 2 * (out + width))
            self.assertEqual(row["source_bytes"], 4 * out * width)
            self.assertAlmostEqual(row["bits"], 8 * row["bytes"] / (out * width))
            for key, column, digits in (("kl_mean", 2, 6), ("kl_stderr", 3, 6), ("ppl", 4, 4),
                                        ("relative_error", 5, 6), ("output_error", 6, 6), ("bits", 7, 4)):
                self.assertAlmostEqual(row[key], float(shown[row["matrix"]][column]), delta=0.51 * 10**-digits)
        for key, label in (("by_role", "role"), ("by_layer", "layer")):
            for total in said[key]:
                rows = [row for row in said["rows"] if row[label] == total[label]]
                self.assertEqual(total["matrices"], len(rows))
                self.assertAlmostEqual(total["kl_sum"], sum(row["kl_mean"] for row in rows))
                self.assertEqual(total["kl_max"], max(row["kl_mean"] for row in rows))
                self.assertEqual(total["bytes"], sum(row["bytes"] for row in rows))

    def test_baseline_is_what_perplexity_says(self):
        said = self.measure("--max-windows", "0")
        other = self.onebit("perplexity", tiny(), "-f", self.text, "-c", WINDOW, "--json").json()
        self.assertEqual(said["positions"], other["scored"])
        # Logits of both engines are off by EPSILON at most, so NLL by twice that.
        self.assertAlmostEqual(said["baseline"]["ppl"] / other["ppl"], 1, delta=2 * EPSILON)
        self.assertAlmostEqual(said["baseline"]["ppl_stderr"] / other["ppl_stderr"], 1, delta=1e-2)

    @needs(STORIES)
    def test_transformers(self):
        golden = json.loads(GOLDEN.read_text())
        self.text = self.write("story.txt", golden["text"])
        for form in ("free", "paper", "foldable"):
            expected = {row["matrix"]: row for row in golden["rows"] if row["form"] == form}
            said = self.onebit("sensitivity", STORIES, "-f", self.text, "-c", golden["window"], "--form", form,
                               "--scales", "f32", "--json",
                               *(flag for name in expected for flag in ("--matrices", name))).json()
            self.assertAlmostEqual(said["baseline"]["ppl"], golden["baseline"]["ppl"],
                                   delta=2 * EPSILON * golden["baseline"]["ppl"])
            self.assertEqual({row["matrix"] for row in said["rows"]}, set(expected))
            for row in said["rows"]:
                want = expected[row["matrix"]]
                self.assertAlmostEqual(row["kl_mean"], want["kl_mean"], delta=bound(want["kl_mean"]))
                self.assertAlmostEqual(row["relative_error"], want["relative_error"], delta=1e-6)
                self.assertAlmostEqual(row["output_error"] / want["output_error"], 1, delta=1e-3)

    def test_choice_of_matrices(self):
        whole = {row["matrix"]: row for row in self.measure()["rows"]}
        for patterns, names in ((["blk.1.*"], [f"blk.1.{r}" for r in ROLES]),
                                (["*.ffn_up", "blk.0.attn_[qk]"],
                                 ["blk.0.attn_q", "blk.0.attn_k", "blk.0.ffn_up", "blk.1.ffn_up"])):
            rows = self.measure(*(flag for p in patterns for flag in ("--matrices", p)))["rows"]
            self.assertEqual([row["matrix"] for row in rows], names)
            for row in rows:
                self.assertEqual(row, whole[row["matrix"]])

    def test_settings(self):
        """Every flag of a method counts, and alone: what does not change is equal to the last digit."""
        plain = self.measure("--matrices", "blk.0.ffn_up")["rows"][0]
        for flags, same_error in ((["--form", "paper"], True), (["--scales", "f32"], True),
                                  (["--form", "foldable"], False), (["--group-size", "32"], False),
                                  (["--init", "copy"], False)):
            said = self.measure("--matrices", "blk.0.ffn_up", *flags)
            row = said["rows"][0]
            self.assertNotEqual(row["kl_mean"], plain["kl_mean"], flags)
            self.assertEqual(row["relative_error"] == plain["relative_error"], same_error, flags)
            name, value = flags[0][2:].replace("-", "_"), flags[1]
            self.assertEqual(str(said["settings"][0][name]), value)
        self.assertEqual(self.measure("--method", "onebit:1", "--matrices", "blk.0.ffn_up")["rows"][0], plain)
        svd = self.measure("--matrices", "blk.0.ffn_up", "--init", "svd")["rows"][0]
        self.assertAlmostEqual(svd["kl_mean"], plain["kl_mean"], delta=1e-3 * plain["kl_mean"])

    def test_threads_move_it_by_rounding_only(self):
        one, many = (self.measure("-t", n)["rows"] for n in (1, 3))
        for a, b in zip(one, many):
            self.assertEqual(a["matrix"], b["matrix"])
            self.assertAlmostEqual(a["kl_mean"], b["kl_mean"], delta=bound(a["kl_mean"]))


class Files(Sensitivity):
    def setUp(self):
        super().setUp()
        self.out = self.dir / "out.json"

    def results(self):
        """What the file holds, but for what differs from run to run."""
        said = json.loads(self.out.read_text())
        self.assertGreater(said.pop("seconds"), 0)
        said.pop("command")
        return said

    def test_output(self):
        result = self.onebit(*self.command("-o", self.out))
        self.assertEqual(result.lines[-1], f"wrote {self.out}")
        self.assertEqual(self.files(), ["out.json", "text.txt"])
        said = self.measure()
        said.pop("seconds")
        said.pop("command")
        self.assertEqual(self.results(), said)

    def test_command_can_be_typed_again(self):
        self.text = self.write("it's a text.txt", PROSE)
        command = self.measure("--matrices", "blk.0.*")["command"]
        words = subprocess.run(["sh", "-c", f"printf '%s\\n' {command}"], check=True, capture_output=True,
                               text=True).stdout.splitlines()
        self.assertEqual(words, ["onebit", *map(str, self.command("--matrices", "blk.0.*")), "--json"])

    def interrupt(self, after, *flags):
        """Stops the run when so many results are in the part file; what it says then."""
        part = self.dir / "out.json.part"
        command = [str(ONEBIT), *map(str, self.command("-o", self.out, *flags, model=self.slow()))]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
            while child.poll() is None and not (part.exists() and part.read_bytes().count(b"\n") > after):
                pass
            child.send_signal(signal.SIGINT)
            out, err = child.communicate(timeout=120)
        self.assertEqual((child.returncode, out), (130, b""))
        return err.decode()

    @staticmethod
    def slow():
        """Large enough not to be through before a signal arrives."""
        return tiny("slow", layers=12, dim=192, ffn=320)

    def test_broken_off_and_gone_on(self):
        command = self.command("-o", self.out, model=self.slow())
        self.onebit(*command)
        whole = self.results()
        self.out.unlink()
        said = self.interrupt(2)
        self.assertRegex(said, r"\Aonebit: error: interrupted after \d+ of 84 measurements; what is done is in "
                               r"\S+/out.json.part, the same command goes on\n\Z")
        self.assertEqual(self.files(), ["out.json.part", "text.txt"])
        part = self.dir / "out.json.part"
        kept = part.read_bytes()
        done = kept.count(b"\n") - 1
        part.write_bytes(kept + b'{"matrix": "blk.')  # what a killed process leaves
        result = self.onebit(*command)
        self.assertIn(f"{done} measurements are there already", result.err)
        self.assertEqual(self.results(), whole)
        self.assertEqual(self.files(), ["out.json", "text.txt"])

    def test_begun_anew_and_broken_off(self):
        self.assertIn("out.json.part, the same command without --restart goes on", self.interrupt(2, "--restart"))

    def part(self, change=None, lines=3):
        """A part file of this command with `lines` results, and what the whole command finds."""
        self.onebit(*self.command("-o", self.out, "--restart"))
        said = self.results()
        weights = said["model_info"]["sha256"]
        settings = pathlib.Path(said["model"], "config.json").read_text()  # as Checkpoint::identity()
        header = {"program": said["program"],
                  "model_identity": hashlib.sha256((weights + settings).encode()).hexdigest(),
                  "file_sha256": subprocess.run(["sha256sum", self.text], check=True, capture_output=True,
                                                text=True).stdout.split()[0],
                  "rows": "whole", "window": said["window"], "windows": said["windows"],
                  "settings": said["settings"]}
        self.out.unlink()
        rows = copy.deepcopy(said["rows"][:lines])
        if change:
            change(header, rows)
        text = "".join(json.dumps(line) + "\n" for line in ({"header": header}, *rows))
        (self.dir / "out.json.part").write_text(text)
        return said

    def test_what_is_kept_is_not_measured_again(self):
        def change(_, rows):
            rows[1]["kl_mean"] = 123.5
        self.part(change)
        self.onebit(*self.command("-o", self.out))
        rows = self.results()["rows"]
        self.assertEqual(len(rows), 14)
        self.assertEqual(rows[1]["kl_mean"], 123.5)

    def test_restart(self):
        def change(header, rows):
            header["window"] = 31
            rows[1]["kl_mean"] = 123.5
        said = self.part(change)
        self.fails(*self.command("-o", self.out), says=["out.json.part", "another run", "window 31, expected 32",
                                                        "--restart"])
        self.onebit(*self.command("-o", self.out, "--restart"))
        self.assertEqual(self.results(), said)
        self.fails(*self.command("--restart"), expect=2, says=["--restart", "-o FILE"])
        text = self.text.read_bytes()
        self.fails(*self.command("-o", self.text), says="found another file of this command")
        self.assertEqual(self.text.read_bytes(), text)

    def test_part_of_another_run(self):
        self.part()
        for flags, says in ((["--form", "paper"], "settings"), (["--max-windows", "1"], "windows 4, expected 1")):
            self.fails(*self.command("-o", self.out, *flags), says=["another run", says])
        self.fails(*self.command("-o", self.out, window=16), says=["another run", "window 32, expected 16"])
        self.text = self.write("other.txt", PROSE + "!")
        self.fails(*self.command("-o", self.out), says=["another run", "file_sha256"])
        self.fails(*self.command("-o", self.out, model=self.slow()), says=["another run", "model_identity"])
        self.assertEqual(self.files(), ["other.txt", "out.json.part", "text.txt"])

    def test_broken_part(self):
        def wrong(key, value):
            def change(_, rows):
                rows[2][key] = value
            return change
        for change, says in ((wrong("kl_mean", "much"), ['"kl_mean"', '"much"', "a number"]),
                             (wrong("kl_mean", None), ['"kl_mean"', "null"]),
                             (wrong("layer", 2), ["layer 2", "of this model"]),
                             (wrong("layer", -1), ['"layer"', "-1"]),
                             (wrong("role", "attn_norm"), ["attn_norm"]),
                             (wrong("matrix", "blk.0.attn_q"), ["attn_v", "blk.0.attn_q"]),
                             (wrong("setting", 1), ["setting 1"])):
            self.part(change)
            self.fails(*self.command("-o", self.out), says=["out.json.part", "result", *says, "--restart"])
        part = self.dir / "out.json.part"
        for text, says in (("no JSON\n", ["line 1", "no JSON", "header"]), ("{}\n", ["line 1", "header"]),
                           ('{"header": 1}\n', ["line 1", "header"])):
            part.write_text(text)
            self.fails(*self.command("-o", self.out), says=["out.json.part", *says, "--restart"])
        self.part()
        lines = part.read_text().splitlines(keepends=True)
        part.write_text("".join([*lines[:2], "[1]\n", *lines[2:]]))
        self.fails(*self.command("-o", self.out), says=["out.json.part", "line 3", "[1]", "an object"])
        part.write_text("")  # killed before its first line was there
        self.onebit(*self.command("-o", self.out))

    @unittest.skipUnless(shutil.which("gnuplot"), "absent: gnuplot")
    def test_heat_map(self):
        svg, png = self.dir / "map.svg", self.dir / "map.png"
        result = self.onebit(*self.command("--heatmap", svg))
        self.assertEqual(result.lines[-1], f"wrote {svg}")
        root = xml.etree.ElementTree.parse(svg).getroot()
        self.assertEqual(root.tag, SVG + "svg")
        words = {"".join(text.itertext()).strip() for text in root.iter(SVG + "text")}
        for word in (*ROLES, "layer", "KL, nats a token, when one matrix alone is quantised by onebit"):
            self.assertIn(word, words)
        self.onebit(*self.command("--heatmap", png, "--matrices", "blk.0.attn_q"))
        self.assertEqual(png.read_bytes()[:8], b"\x89PNG\r\n\x1a\n")
        # Weights that are zero stay so: no divergence at all has no place on a logarithmic scale.
        self.onebit(*self.command("--heatmap", png, model=tiny("zero", zero=True)))

    @unittest.skipUnless(shutil.which("gnuplot"), "absent: gnuplot")
    def test_closed_pipe_does_not_lose_the_files(self):
        svg, out = self.dir / "map.svg", self.dir / "out.json"
        reader, writer = os.pipe()
        os.close(reader)
        try:
            self.onebit(*self.command("--heatmap", svg, "-o", out), stdout=writer)
        finally:
            os.close(writer)
        self.assertEqual(self.files(), ["map.svg", "out.json", "text.txt"])

    def test_heat_map_that_cannot_be(self):
        self.fails(*self.command("--heatmap", self.dir / "map.pdf"), expect=2, says=["map.pdf", ".svg or .png"])
        self.fails(*self.command("--heatmap", self.dir / "no" / "map.svg"), says=["cannot create", "no/map.svg"])
        self.fails(*self.command("--heatmap", self.dir / "map.svg"), env={"PATH": str(self.dir)},
                   says=["gnuplot", "gnuplot-nox"])
        self.assertEqual(self.files(), ["text.txt"])


class BadInput(Sensitivity):
    def test_packed_model(self):
        self.fails(*self.command(model=packed(tiny())), says=["already quantised by method 'onebit'",
                                                              "expected a full-precision model"])

    def test_text_too_short(self):
        self.text = self.write("short.txt", PROSE[:31])
        self.fails(*self.command(), says=[str(tiny()), "short.txt", "31 tokens", "window of 32", "-c"])
        self.text = self.write("empty.txt", "")
        self.fails(*self.command(), says=["empty.txt", "0 tokens"])

    def test_window(self):
        self.fails(*self.command(window=TINY["context"] + 1), says=["129 tokens", "at most 128", "context"])
        for value in ("1", "0", "-1", "x"):
            self.fails(*self.command(window=value), expect=2, says=["--ctx-size", f"'{value}'", "at least 2"])
        self.onebit(*self.command("--max-windows", "1", "--matrices", "blk.1.ffn_down", window=2))
        self.assertEqual(self.measure("--matrices", "blk.1.ffn_down", window=TINY["context"])["windows"],
                         len(PROSE) // TINY["context"])

    def test_max_windows(self):
        """0 is all of them, as in `onebit perplexity`."""
        said = self.measure("--max-windows", "0", "--matrices", "blk.1.ffn_down")
        self.assertEqual(said["windows"], len(PROSE) // WINDOW)
        for value in ("-1", "some"):
            self.fails(*self.command("--max-windows", value), expect=2,
                       says=["--max-windows", f"'{value}'", "at least 0"])

    def test_short_memory(self):
        """Is one line, whoever lacks it."""
        def limit():
            resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
        if subprocess.run([TOOLKIT, "--version"], capture_output=True, check=False, preexec_fn=limit).returncode != 0:
            self.skipTest("a build that does not start in so little")  # with AddressSanitizer
        # Its states alone take more: a token has 4 * 96 bytes.
        self.text = self.write("long.txt", PROSE * (3000000 // len(PROSE)))
        self.fails(*self.command("--max-windows", "0"), preexec_fn=limit,
                   says="not enough memory; a smaller -c or fewer --max-windows need less")

    def test_methods(self):
        for value, says in (("twobit", "found method 'twobit', expected one of onebit, rtn, int8, f16, bf16, lowrank ("), ("onebit:2", "found '2', expected 1"),
                            ("onebit,gptq:4", "found method 'gptq', expected one of onebit"),
                            ("onebit,fourbit:4", "found method 'fourbit'"), ("", "found method ''"), ("onebit:", "found ''")):
            self.fails(*self.command("--method", value), expect=2, says=["--method", says])
        for flags in (["--method", "onebit,onebit:1"], ["--method", "onebit", "--method", "onebit"]):
            self.fails(*self.command(*flags), expect=2, says=["--method", "onebit", "twice"])

    def test_settings_that_do_not_fit(self):
        for flags, says in ((["--group-size", "48"], ["48", "16, 32, 64 or 128"]),
                            (["--group-size", "64", "--form", "free"], ["64", "form free", "foldable"])):
            self.fails(*self.command(*flags), expect=2, says=says)
        self.fails(*self.command("--group-size", "64", "--init", "svd"), says=["svd", "nmf or copy"])
        for flags in (["--form", "other"], ["--init", "random"], ["--scales", "q8_0"], ["--sort", "size"]):
            self.fails(*self.command(*flags), expect=2, says=flags)

    def test_patterns(self):
        for pattern in ("blk.7.*", "attn_q", "token_embd", "blk.0.attn_norm"):
            self.fails(*self.command("--matrices", "blk.0.*", "--matrices", pattern),
                       says=["--matrices", f"'{pattern}'", "blk.0.attn_q"])
        self.fails(*self.command("--matrices", ""), expect=2, says=["--matrices", "empty"])

    def test_files(self):
        self.fails("sensitivity", tiny(), "-f", self.dir / "absent", says="absent")
        self.fails("sensitivity", self.dir / "absent", "-f", self.text, says="absent")
        self.fails("sensitivity", tiny(), expect=2, says="--file")
        self.fails(*self.command("-o", self.dir / "no" / "out.json"), says=["cannot create", "no/out.json"])
        (self.dir / "folder").mkdir()
        self.fails(*self.command("-o", self.dir / "folder"), says=["folder", "expected a file"])
        shutil.copytree(tiny(), self.dir / "model")
        self.fails(*self.command("-o", self.dir / "model" / "config.json", model=self.dir / "model"),
                   says=["config.json", "another place"])
        self.fails(*self.command("-o", ""), expect=2, says="--output")

    def test_other_device(self):
        self.fails(*self.command("--device", "cuda"), says=["cuda", "cpu"])


if __name__ == "__main__":
    unittest.main()

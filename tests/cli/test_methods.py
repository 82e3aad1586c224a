"""`onebit quantize --method …`: what the other methods write runs, weighs what it says and is what Python
reads; and what is wrong with their options is said in one line."""
import json
import signal
import subprocess
import time
import unittest

from harness import ONEBIT, ROOT, SMOLLM, STORIES, TOOLKIT, CliTest, needs, tiny

try:
    import gguf
    import numpy as np
except ImportError:
    gguf = None

TEXT = "Once upon a time there was a little girl who lived in a house near the wood. " * 60
OMNIQUANT = "omniquant --bits 2 --group-size 16 --epochs 3 --lwc-rate 0.02"
METHODS = ("onebit", "onebit --form paper", "onebit --group-size 16", "f16", "bf16", "int8", "int8 --affine --group-size 16", "rtn", "rtn --bits 8", "rtn --bits 3 --group-size 16",
           "rtn --bits 2 --symmetric", "rtn --bits 1", "gptq --bits 3 --group-size 16",
           "gptq --bits 2 --group-size 16 --act-order", "gptq --bits 4 --act-order --static-groups --group-size 24",
           "billm", "billm --group-size 40 --scales f32", "lowrank", "lowrank --bits 8",
           "rtn --bits 2 --group-size 16", OMNIQUANT,
           "omniquant --bits 2 --group-size 40 --scales f32 --let --epochs 1 --batch 3",
           "omniquant --bits 4 --act-bits 6 --let --epochs 2",
           "arb", "arb --refine plain", "arb --refine inputs --group-size 40", "arb --group-size 40 --scales f32")


@needs(STORIES)
@needs(TOOLKIT)
class Methods(CliTest):
    def setUp(self):
        super().setUp()
        self.text = self.dir / "text.txt"
        self.text.write_text(TEXT)

    def calibration(self, words):
        calibrated = words.startswith(("gptq", "billm", "arb", "omniquant"))
        return ["--calib", self.text, "--samples", "4", "--length", "64"] if calibrated else []

    def quantize(self, words, *more):
        out = self.dir / "out.gguf"
        return out, self.onebit("quantize", STORIES, "-o", out, "--method", *words.split(), *self.calibration(words),
                                *more, "--json").json()

    def perplexity(self, model, *more):
        return self.onebit("perplexity", model, "-f", self.text, "-c", "64", *more, "--json").json()["ppl"]

    def test_files_run_and_weigh_what_is_said(self):
        full = self.perplexity(STORIES)
        found = {}
        for words in METHODS:
            with self.subTest(method=words):
                out, said = self.quantize(words)
                info = self.onebit("info", out, "--json").json()
                self.assertEqual(info["packed"]["method"], words.split()[0])
                self.assertEqual(info["matrices"]["bytes"] * 8 / info["matrices"]["weights"],
                                 said["totals"]["bits_per_weight"])
                self.assertEqual(info["file_bytes"], said["totals"]["file_bytes"])
                found[words] = self.perplexity(out)
                self.assertAlmostEqual(found[words] / self.perplexity(out, "--engine", "torch"), 1, delta=1e-3)
        for words in ("f16", "bf16", "int8", "int8 --affine --group-size 16", "rtn --bits 8"):
            self.assertAlmostEqual(found[words] / full, 1, delta=0.01, msg=words)
        self.assertLess(found["gptq --bits 3 --group-size 16"], found["rtn --bits 3 --group-size 16"])
        self.assertLess(found[OMNIQUANT], 0.7 * found["rtn --bits 2 --group-size 16"])

    def test_equal_commands_give_equal_files(self):
        for words in ("gptq --bits 4", "omniquant --bits 4 --epochs 2 --let"):
            with self.subTest(method=words):
                first = self.quantize(words, "-t", "1")[0].read_bytes()
                self.assertEqual(self.quantize(words, "-t", "1")[0].read_bytes(), first)
                self.assertEqual(self.files(), ["out.gguf", "text.txt"])

    def test_blocks_that_are_done_are_not_calibrated_again(self):
        """A run that is stopped leaves its blocks, from which the same command makes the same file."""
        for words in ("gptq --bits 3 --override blk.*.attn_q=lowrank:4 --override *.ffn_up=arb", OMNIQUANT + " --let",
                      "lowrank --bits 4", "lowrank --bits 4 --override *.attn_q=rtn"):
            with self.subTest(words):
                out = self.dir / "out.gguf"
                command = [ONEBIT, "quantize", STORIES, "-o", out, "--method", *words.split(),
                           *self.calibration(words), "-t", "1", "--json"]
                command = [str(word) for word in command]
                self.onebit(*command[1:])
                whole = out.read_bytes()
                out.unlink()
                part = self.dir / "out.gguf.part"
                self.assertIn("out.gguf.part, the same command goes on", self.interrupted(*command))
                self.assertEqual(self.files(), ["out.gguf.part", "text.txt"])
                other = ("--override", "*.attn_q=rtn") if words.startswith("lowrank") else ("-s", "1")
                self.fails(*command[1:], *other, says=["out.gguf.part", "other settings", "--restart"])
                self.onebit(*command[1:])
                self.assertEqual(out.read_bytes(), whole)
                self.assertEqual(self.files(), ["out.gguf", "text.txt"])
                (part).mkdir()
                (part / "0.safetensors").write_bytes(b"torn")
                self.fails(*command[1:], says=["0.safetensors"])
                self.onebit(*command[1:], "--restart")
                self.assertEqual(out.read_bytes(), whole)

    def interrupted(self, *command):
        """What a run says that is stopped after its first block."""
        part = self.dir / "out.gguf.part/1.safetensors"
        part.unlink(missing_ok=True)
        with subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
            while process.poll() is None and not part.exists():
                time.sleep(0.01)
            process.send_signal(signal.SIGINT)
            said = process.stderr.read().decode()
        self.assertEqual(process.returncode, 130, said)
        return said

    def test_what_a_stopped_run_says_goes_on(self):
        out = self.dir / "out.gguf"
        command = (ONEBIT, "quantize", STORIES, "-o", out, "--method", "gptq", "--calib", self.text, "--samples", "4",
                   "--length", "64", "-t", "1")
        self.assertIn("the same command without --restart goes on", self.interrupted(*command, "--restart"))
        said = self.interrupted(*command, "--seed", "-1", "--restart")
        self.assertIn("the same command without --restart and with --seed ", said)
        seed = said.split("--seed ")[1].split()[0]
        part = self.dir / "out.gguf.part/0.safetensors"
        before = part.stat().st_mtime_ns
        self.fails(*command[1:], "--seed", int(seed) + 1, says=["out.gguf.part", "other settings"])
        self.assertEqual(part.stat().st_mtime_ns, before)
        (self.dir / "out.gguf.tmp-4194305").touch()  # of a process that was killed
        self.onebit(*command[1:], "--seed", seed)
        self.assertEqual(self.files(), ["out.gguf", "text.txt"])

    def test_parts_of_another_run_are_refused_before_a_measurement(self):
        out = self.dir / "out.gguf"
        command = (ONEBIT, "quantize", STORIES, "-o", out, "--method", "gptq", "--calib", self.text, "--samples", "4",
                   "--length", "64", "-t", "1")
        self.interrupted(*command, "--budget", "230000")
        said = self.fails(*command[1:], "--budget", "180000", says=["out.gguf.part", "other settings", "--restart"])
        self.assertNotIn("measure", said.err)
        self.onebit(*command[1:], "--budget", "230000")
        self.assertLessEqual(out.stat().st_size, 230000)

    def test_what_is_there_stays(self):
        """No output takes an input's place, and beside it only this command's parts are removed."""
        gptq = ("--method", "gptq", *self.calibration("gptq"))
        self.fails("quantize", STORIES, "-o", self.text, *gptq, says="text.txt: found another file of this command")
        self.assertEqual(self.text.read_text(), TEXT)
        part, out = self.dir / "out.gguf.part", self.dir / "out.gguf"
        part.write_text("mine")
        for restart in ((), ("--restart",)):
            self.fails("quantize", STORIES, "-o", out, *gptq, *restart, says="out.gguf.part: found a file")
        self.assertEqual(part.read_text(), "mine")
        part.unlink()
        part.mkdir()
        (part / "notes.txt").write_text("mine")
        for restart in ((), ("--restart",)):
            self.onebit("quantize", STORIES, "-o", out, *gptq, *restart)
            self.assertEqual([path.name for path in part.iterdir()], ["notes.txt"])

    def test_settings_are_the_methods_own(self):
        _, said = self.quantize("rtn --bits 2 --group-size 16", "--seed", "3")  # every command takes one
        self.assertEqual([said[key] for key in ("bits", "group_size", "scales", "symmetric")], [2, 16, "f16", False])
        self.assertFalse({"form", "init", "split", "clip"} & said.keys())
        self.assertIsNone(said["calibration"])
        _, said = self.quantize("gptq --bits 3 --act-order")
        self.assertEqual(said["calibration"] | {"file": "", "seed": 0},
                         {"file": "", "samples": 4, "length": 64, "seed": 0, "damp": 0.01, "act_order": True,
                          "static_groups": False})
        _, said = self.quantize("onebit --group-size 16")
        self.assertEqual((said["form"], said["init"], said["split"]), ("foldable", "nmf", "rms"))

    def test_overrides(self):
        self.onebit("quantize", STORIES, "-o", self.dir / "out.gguf", "--method", "gptq", "--override", "*=rtn:3")
        _, said = self.quantize("rtn", "--override", "blk.0.*=int8", "--override", "*.ffn_down=gptq:3",
                                *self.calibration("gptq"))
        bits = {m["name"]: m["bits_per_weight"] for m in said["matrices"]}
        self.assertGreater(bits["blk.0.ffn_down"], 8)  # the first match wins
        self.assertLess(bits["blk.1.ffn_down"], 4)
        self.assertGreater(bits["blk.1.ffn_up"], 4)
        self.assertLess(bits["blk.1.ffn_up"], 5)

    def test_budget(self):
        """The file is within it, the more of it the less divergence; what is wrong is said."""
        costs, out = self.dir / "costs.json", self.dir / "out.gguf"
        self.onebit("sensitivity", STORIES, "-f", self.text, "-c", "64", "--method", "rtn:2,rtn:4,int8", "-o", costs)
        last = float("inf")
        for budget in (130000, 170000, 220000, 10**9):
            said = self.onebit("quantize", STORIES, "-o", out, "--budget", budget, "--sensitivity", costs,
                               "--json").json()
            self.assertLessEqual(out.stat().st_size, budget)
            self.assertEqual(said["totals"]["file_bytes"], out.stat().st_size)
            self.assertEqual((said["bits"], said["sensitivity"]), (None, str(costs)))
            found = self.onebit("perplexity", out, "-f", self.text, "-c", "64", "--kl-teacher", STORIES, "--json").json()
            self.assertLess(found["kl_mean"], last)
            last = found["kl_mean"]
        self.assertEqual(self.onebit("info", out, "--json").json()["types"]["8-bit codes"], 35)
        unlimited = out.stat().st_size
        self.onebit("quantize", STORIES, "-o", out, "--budget", unlimited - 1, "--sensitivity", costs)
        self.assertLess(out.stat().st_size, unlimited)

        def wrong(*words, says, expect=1):
            self.fails("quantize", STORIES, "-o", out, *words, says=says, expect=expect)

        wrong("--budget", "5", "--sensitivity", costs, says=["--budget", "found 5 bytes", "expected at least 1"])
        wrong("--budget", "5", says=["--budget", "--sensitivity FILE", "--calib FILE"], expect=2)
        wrong("--sensitivity", costs, says=["--budget BYTES"], expect=2)
        wrong("--budget", "5", "--sensitivity", costs, "--override", "*=int8", says=["--override"], expect=2)
        wrong("--budget", "200000", "--sensitivity", costs, "--scales", "f32", says=["scales of type f16", "f32"])
        wrong("--budget", "200000", "--sensitivity", costs, "--restart", says=["--restart", str(costs)], expect=2)
        wrong("--budget", "200000", "--sensitivity", self.text, says=[str(self.text), "onebit sensitivity -o"])
        self.fails("quantize", tiny(), "-o", out, "--budget", "200000", "--sensitivity", costs,
                   says=[str(costs), "sha256", str(tiny())])
        few = self.dir / "few.json"
        self.onebit("sensitivity", STORIES, "-f", self.text, "-c", "64", "--matrices", "blk.0.*", "-o", few)
        wrong("--budget", "200000", "--sensitivity", few, says=[str(few), "no matrix blk.1.attn_q"])

    def test_groups_of_a_mixture_are_of_codes(self):
        """1-bit matrices among others have whole rows, whatever groups these have."""
        out, said = self.quantize("rtn --bits 4 --group-size 16 --override blk.0.*=onebit")
        bits = {m["name"]: m["bits_per_weight"] for m in said["matrices"]}
        self.assertLess(bits["blk.0.attn_q"], 2)
        self.assertGreater(bits["blk.1.attn_q"], 5)
        packed = self.onebit("info", out, "--json").json()["packed"]
        self.assertEqual((packed["form"], packed["group_size"]), ("free", 0))
        for form in ("paper", "free"):
            self.onebit("quantize", STORIES, "-o", out, "--form", form, "--group-size", "16", "--override",
                        "*.ffn_down=rtn:4")
            packed = self.onebit("info", out, "--json").json()["packed"]
            self.assertEqual((packed["form"], packed["group_size"]), (form, 0))
        # Where no other method has any, they would be of the 1-bit matrices.
        self.fails("quantize", STORIES, "-o", out, "--group-size", "16", "--override", "blk.0.*=f16",
                   says=["foldable", "form paper or free"])
        costs = self.dir / "costs.json"
        self.onebit("sensitivity", STORIES, "-f", self.text, "-c", "64", "--method", "onebit,rtn:4", "--group-size",
                    "24", "-o", costs)
        self.assertEqual([(s["method"], s["group_size"]) for s in json.loads(costs.read_text())["settings"]],
                         [("onebit", 0), ("rtn", 24)])
        calib = ("--calib", self.text, "--samples", "4", "--length", "64")
        sizes = set()
        for size in ("0", "16"):
            self.onebit("quantize", STORIES, "-o", out, "--budget", "150000", "--group-size", size, *calib)
            sizes.add(out.read_bytes())
        self.assertEqual(len(sizes), 2)

    def test_a_budget_keeps_the_form_that_was_measured(self):
        costs = self.dir / "costs.json"
        self.onebit("sensitivity", STORIES, "-f", self.text, "-c", "64", "--method", "onebit", "--form", "paper", "-o",
                    costs)
        out = self.dir / "out.gguf"
        self.onebit("quantize", STORIES, "-o", out, "--budget", 10**6, "--sensitivity", costs)
        self.assertEqual(self.onebit("info", out, "--json").json()["packed"]["form"], "paper")

    def test_a_budget_measures_by_itself(self):
        """What it then chooses is the method's own; more bytes are less divergence."""
        out = self.dir / "out.gguf"
        calib = ("--calib", self.text, "--samples", "4", "--length", "64")
        last = float("inf")
        for budget in (180000, 230000):
            self.onebit("quantize", STORIES, "-o", out, "--method", "gptq", "--group-size", "16", "--budget", budget,
                        *calib)
            self.assertLessEqual(out.stat().st_size, budget)
            self.assertGreater(len(self.onebit("info", out, "--json").json()["types"]), 3)
            found = self.onebit("perplexity", out, "-f", self.text, "-c", "64", "--kl-teacher", STORIES, "--json").json()
            self.assertLess(found["kl_mean"], last)
            last = found["kl_mean"]
        # Where nothing but the measurement reads the text, no more of it is asked for than that reads.
        text = self.write("longer.txt", TEXT * 2)
        said = self.onebit("quantize", STORIES, "-o", out, "--method", "onebit", "--budget", "110000", "--calib", text,
                           "--length", "500", "--json").json()
        self.assertEqual(said["calibration"]["samples"], 5)
        self.assertIn("onebit", self.onebit("info", out, "--json").json()["packed"]["method"])

    def test_factors_by_inputs(self):
        """Calibration text makes the outputs closer, the weights less so."""
        error = {}
        for calib in ((), ("--calib", self.text, "--samples", "4", "--length", "64")):
            out, said = self.quantize("lowrank --bits 4", *calib)
            ppl = self.onebit("perplexity", out, "-f", self.text, "-c", "64", "--json").json()["ppl"]
            error[bool(calib)] = (said["totals"]["relative_error"], ppl)
        self.assertLess(error[False][0], error[True][0])
        self.assertLess(error[True][1], error[False][1])

    def test_what_is_wrong_is_said(self):
        def wrong(words, *says, expect=1):
            self.fails("quantize", STORIES, "-o", self.dir / "out.gguf", "--method", *words.split(), says=says,
                       expect=expect)

        wrong("gptq", "method gptq", "no calibration text", "--calib")
        wrong("arb", "method arb", "no calibration text", "--calib")
        wrong("arb --refine columns", "--refine", "columns", "rows-columns", "plain", "inputs", expect=2)
        wrong("arb --bits 2", "bits of method arb", "'2'", "expected 1", expect=2)
        wrong("rtn --act-order", "--act-order: found with method rtn, expected one that has it: gptq", expect=2)
        wrong("gptq --act-bits 8", "--act-bits", "omniquant", expect=2)
        wrong("rtn --restart", "--restart: found with method rtn", "gptq", expect=2)
        wrong(f"rtn --calib {self.text}", "--calib: found with method rtn", "gptq", expect=2)
        wrong(f"onebit --form foldable --budget 200000 --samples 1 --length 64 --calib {self.text}",
              "form foldable", "--budget", "paper or free")
        wrong(f"rtn --budget 5 --samples 1 --length 64 --calib {self.text}", "--budget: found 5 bytes",
              "expected at least")
        wrong(f"rtn --budget 200000 --samples 33 --length 64 --calib {self.text}", "--samples: found 33",
              "expected at most 32", expect=2)
        wrong(f"lowrank --budget 200000 --group-size 16 --calib {self.text}", "--group-size: found with method lowrank",
              expect=2)
        wrong("omniquant --budget 200000 --calib x", "--budget: found method omniquant", expect=2)
        wrong(f"arb --budget 200000 --samples 1 --length 64 --calib {self.text}", "--budget: found method arb")
        wrong("rtn --bits 9", "bits of method rtn", "9", "1, 2, 3, 4, 5, 6, 7, 8", expect=2)
        wrong("int8 --bits 4", "bits of method int8", "'4'", "expected 8", expect=2)
        wrong("int8 --per-tensor --group-size 16", "--per-tensor", "groups of 16")
        wrong("rtn --override blk.9.attn_q=int8", "--override", "blk.9.attn_q", "blk.0.attn_q")
        wrong("rtn --override *=rtn:3 --override blk.0.*=f16", "--override", "'blk.0.*'", "an earlier pattern")
        wrong("rtn --head f16", "--head: found f16", "expected --embed f16", expect=2)
        wrong("rtn --override *.attn_q", "'*.attn_q'", "PATTERN=METHOD", expect=2)
        wrong("rtn --override *.attn_q=int8:3", "bits of method int8", "'3'", expect=2)
        wrong("onebit --form foldable --override *.attn_q=int8", "foldable", "form paper or free")
        wrong(f"gptq --calib {self.text} --samples 900 --length 64", str(self.text), "windows of 64 tokens",
              "expected 900")
        wrong(f"gptq --calib {self.text} --length 4096", "window: found 4096", "512", "--length")
        wrong(f"gptq --calib {self.dir}/absent.txt", "absent.txt")
        wrong("omniquant", "method omniquant", "no calibration text", "--calib")
        wrong("omniquant --bits 1", "bits of method omniquant", "'1'", "2, 3, 4, 5, 6, 7, 8", expect=2)
        wrong("lowrank --damp 0.5", "--damp: expected --calib", expect=2)
        wrong("rtn --samples 10", "--samples: expected --calib", expect=2)
        wrong("lowrank --scales f32", "--scales: found with method lowrank", "rtn", expect=2)
        wrong(f"rtn --bits 3 --budget 200000 --calib {self.text}", "--bits: found --budget beside it", expect=2)
        wrong("rtn --budget 200000 --sensitivity x", "--method: found --sensitivity beside it", expect=2)
        for flag in ("--lwc-rate", "--let-rate"):
            for rate in ("0", "-0.1", "nan"):
                wrong(f"omniquant {flag}={rate}", flag, f"'{rate}'", "expected a number from", expect=2)
            wrong(f"omniquant {flag.replace('lwc-rate', 'let-alpha')}=0.1", "found without --let", expect=2)
        wrong("gptq --static-groups", "--static-groups: found without --group-size", expect=2)
        wrong(f"rtn --restart --budget 200000 --calib {self.text}", "--restart: found with method rtn", expect=2)
        wrong("omniquant --epochs 0", "--epochs", "'0'", "from 1 to", expect=2)
        calibration = f"--calib {self.text} --samples 2 --length 64"
        wrong(f"omniquant {calibration} --override *.ffn_down=rtn", "--override", "omniquant", "expected it alone")
        wrong(f"rtn {calibration} --override *.ffn_down=omniquant:2", "--override", "omniquant", "expected it alone")
        self.assertEqual(self.files(), ["text.txt"])

    @unittest.skipUnless(gguf, "absent: Python's gguf (tools/setup.sh installs it)")
    def test_python_reads_codes(self):
        """By the lines that docs/formats.md gives."""
        words = "gptq --bits 3 --group-size 16 --act-order"
        out, said = self.quantize(words, "--scales", "f32")
        source = {t.name: t.data for t in gguf.GGUFReader(STORIES).tensors}
        tensors = {t.name: t.data for t in gguf.GGUFReader(out).tensors}
        for matrix in said["matrices"]:
            name, columns = matrix["name"], matrix["shape"][1]
            bits, ends = tensors[f"{name}.groups"][0], tensors[f"{name}.groups"][1:]
            stream = np.unpackbits(tensors[f"{name}.codes"].view(np.uint8), axis=1, bitorder="little")
            codes = stream[:, :columns * bits].reshape(-1, columns, bits) @ (1 << np.arange(bits))
            group = np.searchsorted(ends, np.arange(columns), side="right")
            zero = tensors[f"{name}.zero"].astype(np.float64) + 128
            stored = (codes - zero[:, group]) * tensors[f"{name}.scale"][:, group].astype(np.float64)
            weights = np.empty_like(stored)
            weights[:, tensors[f"{name}.order"]] = stored
            full = source[f"{name}.weight"].astype(np.float64)
            self.assertAlmostEqual(((weights - full) ** 2).sum() / (full ** 2).sum(), matrix["relative_error"],
                                   delta=1e-6)

    @unittest.skipUnless(gguf, "absent: Python's gguf (tools/setup.sh installs it)")
    def test_python_reads_products(self):
        """By what docs/formats.md says of them."""
        out, said = self.quantize("arb --group-size 40 --scales f32")
        source = {t.name: t.data for t in gguf.GGUFReader(STORIES).tensors}
        tensors = {t.name: t.data for t in gguf.GGUFReader(out).tensors}
        for matrix in said["matrices"]:
            name, columns = matrix["name"], matrix["shape"][1]
            ends, order = tensors[f"{name}.groups"][1:], tensors[f"{name}.order"]
            bits = np.unpackbits(tensors[f"{name}.codes"].view(np.uint8), axis=1, bitorder="little").astype(float)
            low, high = bits[:, :2 * columns:2], bits[:, 1:2 * columns:2]
            group = np.searchsorted(ends, np.arange(columns), side="right")
            both = tensors[f"{name}.kinds"][group] == 1
            a = np.where(both, 2 * low - 1, (2 * low - 1) * (1 - high))
            b = np.where(both, 2 * high - 1, (2 * low - 1) * high)
            rows = tensors[f"{name}.row_scale"][:, group].astype(np.float64)
            inputs = tensors[f"{name}.in_scale"][:, order]
            weights = np.empty_like(a)
            weights[:, order] = a * rows[..., 0] * inputs[0] + b * rows[..., 1] * inputs[1]
            full = source[f"{name}.weight"].astype(np.float64)
            self.assertAlmostEqual(((weights - full) ** 2).sum() / (full ** 2).sum(), matrix["relative_error"],
                                   delta=1e-6)


@needs(SMOLLM)
@needs(TOOLKIT)
class RealModel(CliTest):
    def test_int8_keeps_the_model(self):
        """Per-channel int8, on some thousand tokens."""
        out, text = self.dir / "out.gguf", self.dir / "text.txt"
        text.write_text((ROOT / "README.md").read_text())
        self.onebit("quantize", SMOLLM, "-o", out, "--method", "int8", "--embed", "f16")

        def perplexity(model):
            return self.onebit("perplexity", model, "-f", text, "-c", "256", "--max-windows", "4", "--json").json()["ppl"]

        self.assertAlmostEqual(perplexity(out) / perplexity(SMOLLM), 1, delta=5e-3)


@needs(TOOLKIT)
class Tiny(CliTest):
    def test_a_folder_too(self):
        out = self.dir / "out.gguf"
        self.onebit("quantize", tiny(), "-o", out, "--method", "rtn", "--bits", "5")
        self.assertEqual(self.onebit("info", out, "--json").json()["types"]["5-bit codes"], 14)


if __name__ == "__main__":
    unittest.main()

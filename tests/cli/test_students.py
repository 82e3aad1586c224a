"""`onebit distill --method …` and `onebit train`: students of every method are trained, resumed, packed and run; and
what cannot be is said in one line."""
import array
import json
import unittest

from harness import TOOLKIT, CliTest, needs, packed, tiny, write_tiny

try:
    import gguf
except ImportError:
    gguf = None

METHODS = ("llm-qat --lr 3e-5", "llm-qat --bits 2 --act-bits 16 --kv-bits 16 --lr 1e-3", "bitnet --lr 1e-3",
           "bitnet158 --alpha 0 --lr 1e-3", "lowrank --bits 2 --lr 1e-3")
QUICK = ("--length", "32", "--batch", "2", "--held-out", "0.3")


@needs(TOOLKIT)
class Students(CliTest):
    def setUp(self):
        super().setUp()
        rows = [json.dumps({"text": f"line {i} of a text that says {i * i} and little else. " * 4})
                for i in range(40)]
        self.data = self.write("data.jsonl", "\n".join(rows) + "\n")
        self.text = self.write("text.txt", "line 7 of a text that says 49 and little else. " * 20)
        self.run_dir = self.dir / "run"

    def distill(self, words, *flags, **more):
        return self.onebit("distill", tiny(), "-o", self.run_dir, "--data", self.data, *QUICK, "--method",
                           *words.split(), *flags, **more)

    def perplexity(self, *flags):
        return self.onebit("perplexity", self.run_dir / "model.gguf", "-f", self.text, "-c", "64", "--json",
                           *flags).json()["ppl"]

    def test_every_method(self):
        for words in METHODS:
            with self.subTest(method=words):
                self.run_dir = self.dir / words.replace(" ", "_")
                said = self.distill(words, "--steps", "6", "--json").json()
                what = "cross_entropy" if "--alpha 0" in words else "kl"
                self.assertLess(said["end"][what], said["start"][what])
                info = self.onebit("info", self.run_dir / "model.gguf", "--json").json()
                self.assertEqual(info["packed"]["method"], words.split()[0])
                exact = self.perplexity("--activations", "f32")
                # Activations of few levels that lie between two of them fall to either side.
                delta = 1e-3 if "--act-bits 16" in words or "lowrank" in words else 0.01
                self.assertAlmostEqual(self.perplexity() / exact, 1, delta=delta)
                self.assertAlmostEqual(self.perplexity("--engine", "torch") / exact, 1, delta=delta)

    def test_ends_that_were_trained_are_trained_on(self):
        self.distill("lowrank --bits 2", "--steps", "3", "--train-ends")
        first = self.run_dir / "model.gguf"
        self.run_dir = self.dir / "second"
        again = ("distill", tiny(), "-o", self.run_dir, "--data", self.data, *QUICK, "--method", "lowrank", "--bits", "2",
                 "--steps", "2", "--start", first)
        self.fails(*again, "--log-level", "error", says=["model.gguf: token_embd", "expected --train-ends"])
        self.onebit(*again, "--train-ends")

    def test_a_run_goes_on(self):
        whole = self.distill("bitnet158", "--steps", "6", "--json").json()
        self.run_dir = self.dir / "parts"
        self.distill("bitnet158", "--steps", "6", "--save-every", "3", "--keep", "3")
        (self.run_dir / "checkpoints" / "3.safetensors").replace(self.run_dir / "state.safetensors")
        rest = self.onebit("distill", tiny(), "-o", self.run_dir, "--resume", "--json").json()
        self.assertEqual(rest["tokens"], 3 * 2 * 32)
        self.assertEqual(rest["end"], whole["end"])

    def test_factors_that_saw_inputs_are_trained_on(self):
        start = self.dir / "aware.gguf"
        self.onebit("quantize", tiny(), "-o", start, "--method", "lowrank", "--bits", "2", "--calib", self.text,
                    "--samples", "3", "--length", "64")
        self.distill("lowrank --bits 2", "--steps", "3", "--start", start)
        # BitNet's signs are none of OneBit's.
        self.run_dir = self.dir / "signs"
        self.distill("bitnet", "--steps", "1")
        self.fails("distill", tiny(), "-o", self.dir / "ours", "--data", self.data, *QUICK, "--steps", "1", "--start",
                   self.run_dir / "model.gguf", "--log-level", "error",
                   says="found a student of method bitnet, expected one of onebit")
        self.run_dir = self.dir / "other"
        quiet = ("--steps", "3", "--start", start, "--log-level", "error")
        self.fails("distill", tiny(), "-o", self.run_dir, "--data", self.data, *QUICK, "--method", "lowrank",
                   "--bits", "3", *quiet, says=["aware.gguf: blk.0.attn_", "found factors of rank", "expected factors of rank", "--bits"])
        self.fails("distill", tiny(), "-o", self.run_dir, "--data", self.data, *QUICK, "--method", "bitnet", *quiet,
                   says=["aware.gguf: found a student of method lowrank, expected one of bitnet"])

    def test_what_a_method_does_not_have(self):
        for words, message in (("bitnet --form paper", "--form: found with --method bitnet, which has no such setting"),
                               ("bitnet158 --bits 2", "--bits: found with --method bitnet158"),
                               ("lowrank --act-bits 8", "--act-bits: found with --method lowrank"),
                               ("llm-qat --bits 1", "--bits: found 1 with --method llm-qat, expected 2 to 8"),
                               ("llm-qat --kv-bits 12", "--kv-bits: found 12"), ("onebit --kv-bits 4", "--kv-bits: found")):
            with self.subTest(words):
                self.fails("distill", tiny(), "-o", self.run_dir, "--data", self.data, *QUICK, "--steps", "2",
                           "--log-level", "error", "--method", *words.split(), expect=2, says=message)

    @unittest.skipUnless(gguf, "absent: Python's gguf (tools/setup.sh installs it)")
    def test_matrices_that_are_kept(self):
        """Hybrid: some matrices stay as a method without training has them, the others make up for it."""
        kept = ("--override", "*.ffn_down=rtn:4", "--override", "blk.0.*=f16", "--override", "*.attn_v=int8")
        quantized = self.dir / "kept.gguf"
        self.onebit("quantize", tiny(), "-o", quantized, *kept)
        whole = self.distill("onebit --steps 6 --block-steps 3 --block-segments 2", "--json").json()
        for words in ("onebit --steps 6 --block-steps 3 --block-segments 2", "llm-qat --bits 2 --steps 6 --lr 1e-3",
                      "bitnet158 --steps 6", "lowrank --bits 1 --steps 6"):
            with self.subTest(method=words):
                self.run_dir = self.dir / words.split()[0]
                said = self.distill(words, *kept, "--json").json()
                self.assertLess(said["end"]["kl"], said["start"]["kl"])
                if words.startswith("onebit"):
                    self.assertLess(said["start"]["kl"], whole["start"]["kl"])
                    self.assertLess(said["end"]["kl"], whole["end"]["kl"])
                self.assertEqual(said["recipe"]["override"], "*.ffn_down=rtn:4,blk.0.*=f16,*.attn_v=int8")
                model = self.run_dir / "model.gguf"
                info = self.onebit("info", model, "--json").json()
                self.assertEqual(set(info["packed"]["method"].split("+")), {words.split()[0], "rtn", "f16", "int8"})
                self.assertEqual(self.tensors(model, "blk.0.attn_q", "blk.1.ffn_down", "blk.1.attn_v"),
                                 self.tensors(quantized, "blk.0.attn_q", "blk.1.ffn_down", "blk.1.attn_v"))
                self.assertAlmostEqual(self.perplexity() / self.perplexity("--engine", "torch"), 1, delta=5e-3)
                before = model.read_bytes()
                self.onebit("distill", tiny(), "-o", self.run_dir, "--resume")
                self.assertEqual(model.read_bytes(), before)
        # The type of scales is that of the whole file.
        exact = self.dir / "exact.gguf"
        self.onebit("quantize", tiny(), "-o", exact, *kept, "--scales", "f32")
        self.run_dir = self.dir / "exact"
        self.distill("onebit --steps 1 --block-steps 0", *kept, "--scales", "f32")
        names = ("blk.1.ffn_down", "blk.1.attn_v")
        self.assertEqual(self.tensors(self.run_dir / "model.gguf", *names), self.tensors(exact, *names))
        # A mixture that was quantised is a start.
        self.run_dir = self.dir / "started"
        said = self.distill("onebit --steps 2 --block-steps 0", *kept, "--start", quantized, "--json").json()
        self.assertLess(said["end"]["kl"], said["start"]["kl"])
        self.run_dir = self.dir / "wrong"
        for words, says, code in (("*.ffn_down", "--override: found '*.ffn_down', expected PATTERN=METHOD[:BITS]", 2),
                                  ("*.ffn_down=gptq", "found method 'gptq', expected one of rtn, int8, f16, bf16", 2),
                                  ("*.ffn_down=rtn:9", "bits of method rtn", 2), ("blk.7.*=f16", "no matrix of", 1),
                                  ("*=f16", "all matrices named", 1)):
            self.fails("distill", tiny(), "-o", self.run_dir, "--data", self.data, *QUICK, "--steps", "1", "--override",
                       words, says=says, expect=code)
        self.fails("distill", tiny(), "-o", self.run_dir, "--data", self.data, *QUICK, "--steps", "1", "--override",
                   "*.attn_q=f16", "--form", "foldable", says=["--override", "foldable", "paper or free"])
        self.fails("distill", tiny(), "-o", self.run_dir, "--data", self.data, *QUICK, "--steps", "1", "--override",
                   "*.attn_q=f16", "--group-size", "32", expect=2, says=["--group-size", "--override"])
        self.fails("distill", tiny(), "-o", self.run_dir, "--data", self.data, *QUICK, "--steps", "1", "--start",
                   quantized, says=["found a student of method", "expected one of onebit", "--override"])
        other = self.dir / "other.gguf"
        self.onebit("quantize", tiny(), "-o", other, "--override", "*.ffn_down=rtn:2")
        self.fails("distill", tiny(), "-o", self.run_dir, "--data", self.data, *QUICK, "--steps", "1", "--start",
                   other, "--override", "*.ffn_up=rtn:4",
                   says="other.gguf: blk.0.ffn_down: found codes of 2 bits, expected a 1-bit matrix (--override)")
        self.assertFalse(self.run_dir.exists())

    def test_a_kept_matrix_that_cannot_be(self):
        """It is named; wider scales take what f16 does not."""
        large = self.dir / "large"
        write_tiny(large)
        file = large / "model.safetensors"
        content = bytearray(file.read_bytes())
        size = int.from_bytes(content[:8], "little")
        header = json.loads(content[8:8 + size])
        begin, end = (8 + size + at for at in header["model.layers.1.mlp.down_proj.weight"]["data_offsets"])
        content[begin:end] = array.array("f", [1e7 * w for w in array.array("f", content[begin:end])]).tobytes()
        file.write_bytes(content)
        run = ("distill", large, "-o", self.run_dir, "--data", self.data, *QUICK, "--steps", "1", "--block-steps", "0",
               "--override", "*.ffn_down=rtn:4")
        self.fails(*run, "--log-level", "error", says=["large: blk.1.ffn_down: scales: found one of 65504"])
        self.onebit(*run, "--scales", "f32")

    def test_a_budget_keeps_what_costs_most(self):
        """Selective: what is measured to cost most keeps more bits, the rest is trained in one."""
        costs = self.dir / "costs.json"
        measure = ("sensitivity", tiny(), "-f", self.text, "-c", "64")
        self.onebit(*measure, "--method", "onebit,rtn:4,f16", "-o", costs)
        rows = json.loads(costs.read_text())["rows"]
        ends = []
        for budget in (70000, 80000, 90000):
            self.run_dir = self.dir / str(budget)
            said = self.distill("onebit --steps 4 --block-steps 2 --block-segments 2", "--budget", budget,
                                "--sensitivity", costs, "--json").json()
            size = (self.run_dir / "model.gguf").stat().st_size
            self.assertLessEqual(size, budget)
            self.assertGreater(size, 0.8 * budget)
            ends.append(said["end"]["kl"])
            kept = {word.split("=")[0] for word in said["recipe"]["override"].split(",")}
            self.assertTrue(kept <= {row["matrix"] for row in rows})
            before = (self.run_dir / "model.gguf").read_bytes()
            self.onebit("distill", tiny(), "-o", self.run_dir, "--resume")
            self.assertEqual((self.run_dir / "model.gguf").read_bytes(), before)
            # As a script does it that is queued again: the same command.
            self.distill("onebit --steps 4 --block-steps 2 --block-segments 2", "--budget", budget, "--sensitivity",
                         costs, "--resume")
            self.assertEqual((self.run_dir / "model.gguf").read_bytes(), before)
        self.fails("distill", tiny(), "-o", self.run_dir, "--resume", "--budget", "80000", "--sensitivity", costs,
                   "--log-level", "error", says=["the saved run has other matrices than --budget 80000 and --sensitivity",
                                                 "resume with the same, or with neither"])
        self.assertEqual(ends, sorted(ends, reverse=True))
        run = ("distill", tiny(), "-o", self.dir / "no", "--data", self.data, *QUICK, "--steps", "1")
        budget = ("--budget", "90000", "--sensitivity", costs)
        self.fails(*run, "--budget", "90000", expect=2, says="--budget: expected --sensitivity FILE")
        self.fails(*run, "--sensitivity", costs, expect=2, says="--sensitivity: expected --budget BYTES")
        self.fails(*run, *budget, "--override", "*=f16", expect=2, says="--override: found --budget beside it")
        self.fails(*run, *budget, "--form", "paper", expect=2, says=["--form: found paper, expected free"])
        self.fails(*run, *budget, "--resume", says="found no state.safetensors or blocks/ to resume from")
        self.fails(*run, "--budget", "5", "--sensitivity", costs, says=["--budget: found 5 bytes"])
        self.onebit(*measure, "--method", "onebit,rtn:4", "--group-size", "16", "-o", costs)
        self.fails(*run, *budget, says=["costs.json: found a setting", "group_size", "no other settings than their bits"])
        self.onebit(*measure, "--method", "onebit,rtn:4", "--form", "foldable", "-o", costs)
        self.fails(*run, *budget, says=["--sensitivity", "costs.json: found 1-bit matrices of the form foldable",
                                        "expected the form paper or free"])
        self.assertFalse((self.dir / "no").exists())

    def test_matrices_at_other_bits(self):
        """Hybrid: all are trained, some in more bits."""
        sizes = []
        for words in ("llm-qat --bits 2 --act-bits 16 --kv-bits 16 --lr 1e-3", "lowrank --bits 1"):
            method = words.split()[0]
            for flags in ((), ("--override", f"*.ffn_down={method}:4", "--override", "blk.0.attn_q=int8")):
                with self.subTest(words=words, flags=flags):
                    self.run_dir = self.dir / f"{method}-{len(flags)}"
                    said = self.distill(words, "--steps", "4", *flags, "--json").json()
                    self.assertLess(said["end"]["kl"], said["start"]["kl"])
                    model = self.run_dir / "model.gguf"
                    sizes.append(model.stat().st_size)
                    self.assertAlmostEqual(self.perplexity() / self.perplexity("--engine", "torch"), 1, delta=1e-3)
                    before = model.read_bytes()
                    self.onebit("distill", tiny(), "-o", self.run_dir, "--resume")
                    self.assertEqual(model.read_bytes(), before)
                    types = self.onebit("info", model, "--json").json()["types"]
                    if flags and method == "llm-qat":
                        self.assertEqual((types["2-bit codes"], types["4-bit codes"], types["8-bit codes"]), (11, 2, 1))
            self.assertLess(sizes[-2], sizes[-1])
        for words, says, code in (("*.ffn_down=llm-qat:9", "bits of method llm-qat: found '9', expected 2 to 8", 2),
                                  ("*.ffn_down=llm-qat", "found '', expected 2 to 8", 2),
                                  ("*.ffn_down=lowrank:2", "found matrices of method lowrank in a student of method onebit", 1)):
            self.fails("distill", tiny(), "-o", self.dir / "no", "--data", self.data, *QUICK, "--steps", "1",
                       "--override", words, says=["--override", says], expect=code)

    def test_kept_matrices_read_what_they_have_always_read(self):
        """Norms and roundings of a student's method are not for a teacher's matrix."""
        start = {}
        for kept in ("f16", "int8"):
            self.run_dir = self.dir / kept
            said = self.distill("bitnet158", "--steps", "2", "--override", f"*.ffn_down={kept}", "--json").json()
            start[kept] = said["start"]["kl"]
            rule = self.onebit("info", self.run_dir / "model.gguf", "--json").json()["packed"]["activations"]
            self.assertEqual(rule["exact"], ["blk.0.ffn_down", "blk.1.ffn_down"] if kept == "int8" else [])
            self.assertAlmostEqual(self.perplexity() / self.perplexity("--engine", "torch"), 1, delta=0.01)
        self.assertAlmostEqual(start["int8"] / start["f16"], 1, delta=0.02)

    def test_a_budget_of_another_method(self):
        costs = self.dir / "costs.json"
        self.onebit("sensitivity", tiny(), "-f", self.text, "-c", "64", "--method", "rtn:2,rtn:4,f16", "-o", costs)
        flags = ("--budget", "80000", "--sensitivity", costs)
        said = self.distill("llm-qat --lr 1e-3 --steps 3", *flags, "--json").json()
        self.assertLessEqual((self.run_dir / "model.gguf").stat().st_size, 80000)
        self.onebit("distill", tiny(), "-o", self.run_dir, "--resume", *flags)  # of the saved run's method
        kinds = {word.split("=")[1] for word in said["recipe"]["override"].split(",")}
        self.assertLessEqual(kinds, {"llm-qat:2", "llm-qat:4", "f16:16"})
        self.assertGreater(len(kinds), 1)
        run = ("distill", tiny(), "-o", self.dir / "no", "--data", self.data, *QUICK, "--steps", "1", *flags)
        self.fails(*run, "--method", "bitnet158", says="--budget: found method bitnet158, expected onebit or llm-qat")
        self.fails(*run[:-3], "10000000", *flags[2:], "--method", "llm-qat", says="of which no matrix takes a setting")
        self.onebit("sensitivity", tiny(), "-f", self.text, "-c", "64", "--method", "rtn:1,rtn:4", "-o", costs)
        self.fails(*run[:-3], "66000", *flags[2:], "--method", "llm-qat",
                   says=["--sensitivity", "costs.json: 'blk.", "bits of method llm-qat: found '1', expected 2 to 8"])

    @staticmethod
    def tensors(model, *names):
        """What stands for these matrices in a file."""
        return {t.name: t.data.tobytes() for t in gguf.GGUFReader(model).tensors
                if t.name.rsplit(".", 1)[0] in names}

    def test_from_scratch(self):
        sizes = ("--dim", "64", "--layers", "2", "--heads", "4", "--kv-heads", "2", "--ffn", "80", "--context", "64")
        for method in ("bitnet", "bitnet158"):
            with self.subTest(method):
                self.run_dir = self.dir / method
                said = self.onebit("train", "-o", self.run_dir, "--arch", "llama", "--method", method, "--tokenizer",
                                   tiny(), "--data", self.data, *sizes, *QUICK, "--steps", "12", "--warmup", "2",
                                   "--lr", "5e-3", "--json").json()
                self.assertLess(said["end"]["cross_entropy"], said["start"]["cross_entropy"])
                self.assertNotIn("kl", said["end"])
                rows = [json.loads(line) for line in (self.run_dir / "metrics.jsonl").read_text().splitlines()]
                self.assertTrue(all("kl" not in row and "held_out_kl" not in row for row in rows))
                info = self.onebit("info", self.run_dir / "model.gguf", "--json").json()
                self.assertEqual(info["packed"]["method"], method)
                self.assertAlmostEqual(self.perplexity("--engine", "torch") / self.perplexity(), 1, delta=0.01)
                again = self.onebit("train", "-o", self.run_dir, "--resume", "--json").json()
                self.assertEqual(again["end"], said["end"])

    def test_what_cannot_be_trained(self):
        train = ("train", "-o", self.run_dir, "--log-level", "error")
        text = ("--data", self.data)
        self.fails(*train, *text, expect=2, says="--tokenizer: found none")
        self.fails(*train, "--tokenizer", tiny(), expect=2, says="--data: found none")
        self.fails(*train, *text, "--tokenizer", tiny(), "--method", "lowrank", expect=2,
                   says="--method: found 'lowrank', expected one of bitnet, bitnet158")
        self.fails(*train, *text, "--tokenizer", tiny(), "--dim", "50", "--heads", "4", expect=2,
                   says="--heads: found 4, expected a divisor of --dim 50")
        self.fails(*train, *text, "--tokenizer", tiny(), "--heads", "4", "--kv-heads", "3", expect=2,
                   says=["--dim, --heads, --kv-heads", "key/value heads", "found 4"])
        for flag in ("--alpha", "--beta", "--block-steps", "--temperature", "--block-batch"):
            self.fails(*train, *text, "--tokenizer", tiny(), flag, "1", expect=2, says=f"{flag}: found with onebit train")
        self.fails(*train, *text, "--tokenizer", tiny(), "--dim", "20", "--heads", "5", "--length", "32",
                   says=["token_embd.weight", "found rows of 20", "choose f16 (--embed, --head)"])
        self.assertFalse((self.run_dir / "state.safetensors").exists())
        self.fails(*train, *text, "--tokenizer", tiny(), "--length", "1024", says="1024")
        self.fails(*train, "--data", self.dir / "none.txt", "--tokenizer", tiny(), "--length", "32", says="none.txt")
        self.fails(*train, "--resume", says="no state.safetensors")
        self.run_dir.mkdir(exist_ok=True)
        for name in ("start.gguf", "model.gguf"):
            tokenizer = self.run_dir / name
            tokenizer.write_bytes(packed(tiny()).read_bytes())
            self.fails(*train, *text, "--tokenizer", tokenizer, says=[name, "found a file of the model itself"])
            self.assertEqual(tokenizer.read_bytes(), packed(tiny()).read_bytes())
            tokenizer.unlink()
        self.fails(*train, "--resume", "--dim", "64", expect=2, says="--dim: found with --resume")
        self.assertFalse((self.run_dir / "start.gguf").exists())


if __name__ == "__main__":
    unittest.main()

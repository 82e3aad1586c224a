"""`onebit distill`: a run from start to packed model, interrupting and resuming it, and every way in
which a run cannot begin."""
import bz2
import gzip
import hashlib
import json
import lzma
import signal
import subprocess
import time
import unittest

from harness import ONEBIT, STORIES, TOOLKIT, CliTest, needs, packed, tiny, write_tiny


def quick(**changes):
    """Flags of a run of a second: the tiny model's context is 128."""
    settings = {"steps": 4, "length": 32, "batch": 2, "block-steps": 2, "block-segments": 2,
                **{key.replace("_", "-"): value for key, value in changes.items()}}
    return [word for key, value in settings.items() if value is not None for word in (f"--{key}", str(value))]


@needs(TOOLKIT)
class Distill(CliTest):
    def setUp(self):
        super().setUp()
        rows = [json.dumps({"text": f"line {i} of a text that says {i * i} and little else. " * 4})
                for i in range(40)]
        self.data = self.write("data.jsonl", "\n".join(rows) + "\n")
        self.run_dir = self.dir / "run"

    def distill(self, *flags, expect=0, **changes):
        return self.onebit("distill", tiny(), "-o", self.run_dir, "--data", self.data,
                           *quick(**changes), *flags, expect=expect)

    def metrics(self):
        return [json.loads(line) for line in (self.run_dir / "metrics.jsonl").read_text().splitlines()]

    def timeless_metrics(self):
        return [{**row, "tokens_per_second": 0, "time": 0} for row in self.metrics()]

    def test_a_run(self):
        said = self.distill("--json", held_out=0.3).json()
        self.assertEqual(said["tokens"], 4 * 2 * 32)
        self.assertLess(said["end"]["kl"], said["start"]["kl"])
        self.assertEqual(sorted(p.name for p in self.run_dir.iterdir()),
                         ["data", "events.out.tfevents.onebit", "metrics.jsonl", "model.gguf", "pack.json",
                          "recipe.json", "state.safetensors"])
        rows = self.metrics()
        self.assertEqual([r["step"] for r in rows if "loss" in r], [1, 2, 3, 4])
        self.assertEqual([r["block"] for r in rows if "block" in r], [0, 1])
        recipe = json.loads((self.run_dir / "recipe.json").read_text())
        self.assertEqual((recipe["steps"], recipe["form"], recipe["block_steps"]), (4, "free", 2))
        info = self.onebit("info", self.run_dir / "model.gguf", "--json").json()
        self.assertEqual(info["packed"]["method"], "onebit")
        self.onebit("run", self.run_dir / "model.gguf", "-p", "line", "-n", "4", "--temp", "0")

    def test_the_papers_recipe(self):
        self.distill(recipe="paper", warmup=0, block_steps=0)
        recipe = json.loads((self.run_dir / "recipe.json").read_text())
        expected = {"form": "paper", "latent": "sign", "latent_scale": 0.01, "sign_gradient": "tanh",
                    "alpha": 1.0, "logit_scale": 0.01, "logit_reduction": "sequence", "beta": 1.0,
                    "gamma": 0.0, "hidden_last": False, "adam_beta1": 0.9, "adam_beta2": 0.98,
                    "weight_decay": 0.01, "clip": 1.0, "scale_rate": 1.0, "lr": 4e-4,
                    "decay": "cosine", "block_steps": 0}
        self.assertEqual({key: recipe[key] for key in expected}, expected)

    def test_the_rate_of_our_recipe(self):
        """It grows with the root of the steps, is said, and stays on --resume."""
        def rate(*flags, **changes):
            self.distill(*flags, **changes)
            return json.loads((self.run_dir / "recipe.json").read_text())["lr"]

        self.assertAlmostEqual(rate(steps=9), 3e-3 * (9 / 45) ** 0.5, 15)
        self.onebit("distill", tiny(), "-o", self.run_dir, "--resume", "--recipe", "best", *quick(steps=9))
        self.run_dir = self.dir / "epochs"
        self.assertAlmostEqual(rate(steps=None, epochs=1), 3e-3 * (self.metrics()[-1]["step"] / 45) ** 0.5, 15)
        self.run_dir = self.dir / "said"
        self.assertEqual(rate(lr=0.25), 0.25)

    def test_without_data_the_teacher_writes(self):
        self.onebit("distill", tiny(), "-o", self.run_dir, *quick())
        rows = (self.run_dir / "data" / "synth.jsonl").read_text().splitlines()
        self.assertEqual(len(rows), 4 * 2)
        self.run_dir = self.dir / "blocks-alone"
        self.onebit("distill", tiny(), "-o", self.run_dir, *quick(steps=0, block_segments=6))
        rows = (self.run_dir / "data" / "synth.jsonl").read_text().splitlines()
        self.assertEqual(len(rows), 6)

    def test_text_is_written_once(self):
        """What fails between the text and the first checkpoint costs no text; nor does what can fail before."""
        command = ("distill", tiny(), "-o", self.run_dir, *quick(block_steps=0))
        data = self.run_dir / "data"
        part = data / "synth.jsonl.part"
        in_the_way = self.run_dir / "metrics.jsonl"
        in_the_way.mkdir(parents=True)
        self.fails(*command, "--seed", "7", "--log-level", "error", says="metrics.jsonl")
        header, first, *rest = part.read_text().splitlines()
        self.assertEqual(len(rest), 4 * 2 - 1)
        marked = {**json.loads(first), "text": "as it was"}
        part.write_text("\n".join([header, json.dumps(marked), *rest]) + "\n")
        # A seed that is drawn is that of the text.
        self.fails(*command, "--seed", "-1", "--log-level", "error", says="metrics.jsonl")
        self.assertEqual(json.loads((self.run_dir / "recipe.json").read_text())["seed"], 7)
        whole = (data / "synth.jsonl").read_text().splitlines()
        self.assertEqual([json.loads(row) for row in whole], [marked, *map(json.loads, rest)])
        in_the_way.rmdir()
        self.onebit(*command, "--seed", "7")
        self.assertEqual((data / "synth.jsonl").read_text().splitlines(), whole)
        self.assertFalse(part.exists())
        # Texts of another seed are none of this run's.
        self.run_dir = self.dir / "other"
        (self.run_dir / "data").mkdir(parents=True)
        part = self.run_dir / "data" / "synth.jsonl.part"
        for lines, says in (([header, first], 'found seed 7, expected 0'), (["{}"], "found no header of a run")):
            part.write_text("\n".join(lines) + "\n")
            result = self.onebit("distill", tiny(), "-o", self.run_dir, *quick(block_steps=0))
            self.assertIn(f"warning: {part}: dropped, the texts of another run: {says}\n", result.err)
            self.assertNotIn(first, (self.run_dir / "data" / "synth.jsonl").read_text().splitlines())
            self.assertEqual(json.loads((self.run_dir / "recipe.json").read_text())["seed"], 0)
            (self.run_dir / "state.safetensors").unlink()
        narrow = self.dir / "narrow"
        write_tiny(narrow, dim=80)
        self.run_dir = self.dir / "types"
        self.fails("distill", narrow, "-o", self.run_dir, *quick(), "--embed", "q4_0", "--log-level", "error",
                   says=["token_embd.weight", "found rows of 80"])
        self.assertEqual(list((self.run_dir / "data").iterdir()), [])

    def test_compressed_data(self):
        self.distill(steps=1)
        plain = (self.run_dir / "data" / "train.tokens").read_bytes()
        content = self.data.read_bytes()
        for ending, compress in (("gz", gzip.compress), ("xz", lzma.compress), ("bz2", bz2.compress)):
            self.run_dir = self.dir / f"run-{ending}"
            # Two streams one after the other, as `cat` makes them, are one text.
            half = content.index(b"\n", len(content) // 2) + 1
            whole = compress(content[:half]) + compress(content[half:])
            self.data = self.write(f"data.jsonl.{ending}", whole)
            self.distill(steps=1)
            self.assertEqual((self.run_dir / "data" / "train.tokens").read_bytes(), plain, ending)
            self.run_dir = self.dir / f"torn-{ending}"
            self.data = self.write(f"torn.jsonl.{ending}", whole[:-20])
            said = self.distill(steps=1, expect=1)
            self.assertIn(f"torn.jsonl.{ending}: cannot read the file: ", said.err)

    def test_blocks_alone(self):
        """Without steps the block-wise stage is all; what is there is not fitted again."""
        said = self.distill("--json", steps=0, held_out=0.3).json()
        self.assertEqual(said["tokens"], 0)
        self.assertLess(said["end"]["kl"], said["start"]["kl"])
        self.assertEqual(sorted(p.name for p in (self.run_dir / "blocks").iterdir()),
                         ["0.safetensors", "1.safetensors"])
        self.onebit("run", self.run_dir / "model.gguf", "-p", "line", "-n", "4", "--temp", "0")
        self.fails("distill", tiny(), "-o", self.run_dir, "--data", self.data, *quick(steps=0),
                   says=["holds a run already"])
        again = self.onebit("distill", tiny(), "-o", self.run_dir, "--resume", "--json").json()
        self.assertEqual(again["end"], said["end"])
        # Without held-out text no start of a fitted block is found again.
        self.run_dir = self.dir / "unseen"
        self.distill(steps=0, held_out=0)
        whole = (self.run_dir / "model.gguf").read_bytes()
        (self.run_dir / "blocks" / "1.safetensors").unlink()
        self.onebit("distill", tiny(), "-o", self.run_dir, "--resume")
        self.assertEqual((self.run_dir / "model.gguf").read_bytes(), whole)
        self.fails("distill", tiny(), "-o", self.dir / "none", "--data", self.data,
                   *quick(steps=0, block_steps=0), "--log-level", "error", expect=2,
                   says=["--steps, --block-steps: found 0 for both"])

    def test_a_packed_student_goes_on(self):
        self.distill(held_out=0.3, form="foldable")
        first = self.run_dir / "model.gguf"
        self.run_dir = self.dir / "second"
        result = self.distill("--start", first, "--json", held_out=0.3, block_steps=0)
        self.assertIn("Adam's moments begin anew", result.err)
        self.assertEqual(result.json()["recipe"]["form"], "foldable")
        quiet = ("--data", self.data, *quick(), "--log-level", "error")
        self.fails("distill", tiny(), "-o", self.dir / "a", "--start", first, "--form", "paper", *quiet,
                   says=["model.gguf", "found a student of the form foldable", "expected paper"])
        self.fails("distill", tiny(), "-o", self.dir / "b", "--start", tiny(), *quiet,
                   says="expected a packed student")
        other = self.dir / "other"
        write_tiny(other, layers=3)
        self.fails("distill", other, "-o", self.dir / "c", "--start", first, *quiet,
                   says=["model.gguf", "found 2 layers, expected 3", "other"])
        before = first.read_bytes()
        for flags in (("--start", first, "--data", self.data), ("--data", first.parent / "recipe.json")):
            self.fails("distill", tiny(), "-o", first.parent, *flags, *quick(),
                       says="found another file of this command")
        self.assertEqual(first.read_bytes(), before)
        # Between two blocks the start is still needed; after them no more.
        self.fails("distill", tiny(), "-o", self.run_dir, "--resume", "--start", self.run_dir / "model.gguf",
                   says="found another file of this command")
        copy = self.dir / "copy.gguf"
        copy.write_bytes((self.run_dir / "model.gguf").read_bytes())
        self.fails("distill", tiny(), "-o", self.run_dir, "--resume", "--start", copy,
                   "--log-level", "error", says="the saved run began with another packed student")
        self.onebit("distill", tiny(), "-o", self.run_dir, "--resume")
        self.run_dir = self.dir / "blocks"
        self.distill("--start", first, steps=0)
        whole = (self.run_dir / "model.gguf").read_bytes()
        (self.run_dir / "blocks" / "1.safetensors").unlink()
        self.fails("distill", tiny(), "-o", self.run_dir, "--resume", "--log-level", "error",
                   says=["0.safetensors", "resume with the same --start"])
        self.onebit("distill", tiny(), "-o", self.run_dir, "--resume", "--start", first)
        self.assertEqual((self.run_dir / "model.gguf").read_bytes(), whole)

    def test_older_checkpoints(self):
        self.distill(steps=6, save_every=2, keep=1)
        kept = self.run_dir / "checkpoints"
        self.assertEqual(sorted(p.name for p in kept.iterdir()), ["4.safetensors", "6.safetensors"])
        state = self.run_dir / "state.safetensors"
        newest = state.read_bytes()
        state.write_bytes((kept / "4.safetensors").read_bytes())  # into the file, as `cp` does it
        self.assertEqual((kept / "6.safetensors").read_bytes(), newest)
        self.onebit("distill", tiny(), "-o", self.run_dir, "--resume")
        self.assertEqual(self.metrics()[-1]["step"], 6)

    def test_interrupted_then_resumed(self):
        """The run that was stopped ends as the one that was not, bit for bit."""
        settings = {"held_out": 0, "steps": 60, "threads": 1}
        self.distill(**settings)
        whole = (self.run_dir / "state.safetensors").read_bytes()
        self.run_dir = self.dir / "broken"
        process = subprocess.Popen(
            [str(ONEBIT), "distill", str(tiny()), "-o", str(self.run_dir), "--data", str(self.data),
             *quick(**settings)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            file = self.run_dir / "metrics.jsonl"
            if file.exists() and '"loss"' in file.read_text():
                break
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        message = process.communicate(timeout=120)[1].decode()
        if process.returncode == 0:
            self.skipTest("the run ended before the signal came")
        self.assertEqual(process.returncode, 130, message)
        self.assertRegex(message, r"onebit: .*interrupted after step \d+ of 60; saved in .*broken, "
                                  r"--resume goes on\n\Z")
        self.assertTrue((self.run_dir / "model.gguf").exists())
        self.fails("distill", tiny(), "-o", self.run_dir, "--data", self.data, *quick(**settings),
                   says=["broken", "--resume"])
        self.distill("--resume", **settings)
        self.assertEqual((self.run_dir / "state.safetensors").read_bytes(), whole)

    def test_resume_needs_the_same_settings(self):
        self.distill()
        recipe = (self.run_dir / "recipe.json").read_bytes()
        quiet = ("--resume", "--log-level", "error")
        self.assertRegex(self.distill(*quiet, lr=0.5, expect=1).err, r"has lr = 0\.\d+, found 0\.5 now")
        self.assertIn("length = 32, found 16 now", self.distill(*quiet, length=16, expect=1).err)
        self.assertEqual((self.run_dir / "recipe.json").read_bytes(), recipe)

    def test_resume_needs_the_same_teacher(self):
        """All that it computes with, not its weights alone; but what earlier programs have saved is these."""
        teacher = self.dir / "teacher"
        write_tiny(teacher)
        self.onebit("distill", teacher, "-o", self.run_dir, "--data", self.data, *quick())
        resume = ("distill", teacher, "-o", self.run_dir, "--resume")
        config = (teacher / "config.json").read_text()
        changed = config.replace('"rope_theta": 10000.0', '"rope_theta": 20000.0')
        self.assertNotEqual(changed, config)
        (teacher / "config.json").write_text(changed)
        self.fails(*resume, "--log-level", "error", says="the saved run has another teacher")
        weights = hashlib.sha256((teacher / "model.safetensors").read_bytes()).hexdigest()
        identity = hashlib.sha256((weights + config).encode()).hexdigest()
        state = self.run_dir / "state.safetensors"
        saved = state.read_bytes()
        self.assertIn(identity.encode(), saved)
        state.write_bytes(saved.replace(identity.encode(), weights.encode()))
        (teacher / "config.json").write_text(config)
        self.onebit(*resume)
        self.assertEqual(state.read_bytes(), saved)

    def test_resume_alone(self):
        """The saved run's settings hold where nothing is said, a drawn seed included."""
        self.distill("--recipe", "paper", "--seed", "-1", steps=3, warmup=1)
        first = json.loads((self.run_dir / "recipe.json").read_text())
        said = self.onebit("distill", tiny(), "-o", self.run_dir, "--resume", "--json").json()
        self.assertEqual(said["recipe"], first)
        self.assertEqual((said["tokens"], first["form"], first["length"]), (0, "paper", 32))
        err = self.onebit("distill", tiny(), "-o", self.run_dir, "--resume", "--clip", "2",
                          "--log-level", "error", expect=1).err
        self.assertIn("clip = 1.0, found 2.0 now", err)

    def test_resume_keeps_the_types_of_the_model(self):
        self.distill("--embed", "f16", "--scales", "f32", "--head", "f16")
        model = self.run_dir / "model.gguf"
        begun = model.stat().st_size
        (self.run_dir / "model.gguf.tmp-999999999").write_text("of a process that was killed")
        self.onebit("distill", tiny(), "-o", self.run_dir, "--resume")
        self.assertEqual(model.stat().st_size, begun)
        self.assertFalse((self.run_dir / "model.gguf.tmp-999999999").exists())
        for _ in range(2):
            self.onebit("distill", tiny(), "-o", self.run_dir, "--resume", "--embed", "f32")
            self.assertGreater(model.stat().st_size, begun)
        (self.run_dir / "pack.json").write_text('{"embed": "f8", "head": "f16", "scales": "f32"}')
        self.fails("distill", tiny(), "-o", self.run_dir, "--resume", "--log-level", "error",
                   says=["pack.json: embed: found 'f8', expected one of f32, f16"])

    def test_bfloat16_stays_close(self):
        """The type that CPUs with matrix tiles train in: the same losses but for its rounding."""
        losses = {}
        for dtype in ("f32", "bf16"):
            self.run_dir = self.dir / dtype
            self.distill("--dtype", dtype, held_out=0)
            losses[dtype] = [row["kl"] for row in self.metrics() if "loss" in row]
        self.assertEqual(len(losses["bf16"]), 4)
        for exact, rounded in zip(losses["f32"], losses["bf16"]):
            self.assertAlmostEqual(rounded / exact, 1, delta=0.05)
        self.assertNotEqual(losses["f32"], losses["bf16"])

    def test_settings_arrive(self):
        flags = {"adam_beta1": 0.8, "adam_beta2": 0.9, "adam_eps": 1e-6, "latent_scale": 0.5,
                 "block_batch": 2, "block_scale_rate": 0.3, "temperature": 2.0, "optimizer": "adam",
                 "logit_term": "cross-entropy", "train_norms": True, "scale_decay": False}
        words = []
        for name, value in flags.items():
            flag = name.replace("_", "-")
            words += ([f"--{flag}", str(value)] if value is not True and value is not False
                      else [f"--{flag}" if value else f"--no-{flag}"])
        self.distill("--gradient-checkpointing", *words)
        recipe = json.loads((self.run_dir / "recipe.json").read_text())
        self.assertEqual({name: recipe[name] for name in flags}, flags)

    def test_a_killed_run_goes_on(self):
        """SIGKILL at some step: the run ends as the one that was not stopped, bit for bit."""
        settings = {"held_out": 0, "steps": 30, "threads": 1, "save_every": 3}
        self.distill(**settings)
        whole = (self.run_dir / "state.safetensors").read_bytes()
        metrics = self.timeless_metrics()
        for after in (2, 17):
            self.run_dir = self.dir / f"killed-{after}"
            process = subprocess.Popen(
                [str(ONEBIT), "distill", str(tiny()), "-o", str(self.run_dir), "--data", str(self.data),
                 *quick(**settings)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            file = self.run_dir / "metrics.jsonl"
            while process.poll() is None and not (
                    file.exists() and file.read_text().count('"loss"') >= after):
                time.sleep(0.001)
            process.kill()
            process.wait()
            self.distill("--resume", **settings)
            self.assertEqual((self.run_dir / "state.safetensors").read_bytes(), whole)
            self.assertEqual(self.timeless_metrics(), metrics)

    def test_a_corrupt_checkpoint(self):
        """Each damage is named in one line, and the file is left as it is."""
        quiet = ("--resume", "--log-level", "error")
        for kind, flags in (("state.safetensors", {}), ("blocks/1.safetensors", {"steps": 0})):
            self.run_dir = self.dir / kind.replace("/", "-")
            self.distill(**flags)
            file = self.run_dir / kind
            whole = file.read_bytes()
            size = int.from_bytes(whole[:8], "little")
            header = json.loads(whole[8:8 + size])
            first = min(name for name in header if name != "__metadata__")

            def with_header(change):
                changed = json.loads(json.dumps(header))
                change(changed)
                text = json.dumps(changed).encode()
                return len(text).to_bytes(8, "little") + text + whole[8 + size:]

            damages = [(b"", "safetensors"), (whole[:100], "safetensors"), (whole[:-1], "safetensors"),
                       (b"\xff" * 64 + whole[64:], "safetensors"),
                       (with_header(lambda h: h["__metadata__"].pop("onebit.data")), "found no onebit.data"),
                       (with_header(lambda h: h.update({"x": h.pop(first)})), f"found no tensor {first}"),
                       (with_header(lambda h: h[first]["shape"].append(1)), f"{first}: found shape")]
            for recipe, says in (("{", "onebit.recipe"), ("{}", "method")):
                damages.append((with_header(lambda h: h["__metadata__"].update({"onebit.recipe": recipe})), says))
            for damage, says in damages:
                file.write_bytes(damage)
                self.assertIn(says, self.distill(*quiet, expect=1, **flags).err)
                self.assertEqual(file.read_bytes(), damage)
            file.write_bytes(whole)
            self.distill(*quiet, **flags)

    def test_a_full_disk(self):
        """A checkpoint that does not fit leaves the one before; with room the run goes on from it."""
        settings = {"steps": 40, "save_every": 5, "threads": 1, "held_out": 0}
        self.distill(**settings)
        whole = (self.run_dir / "state.safetensors").read_bytes()
        room = len(whole) * 3 // 2
        self.run_dir = self.dir / "full"
        self.run_dir.mkdir()
        mount = ('mount -t tmpfs -o size="$1" none "$2" || exit 99; disk=$2; shift 2; "$@"; code=$?; '
                 'cp -r "$disk" "$disk.copy"; exit $code')
        result = subprocess.run(
            ["unshare", "--mount", "--map-root-user", "sh", "-c", mount, "sh", str(room), str(self.run_dir),
             str(ONEBIT), "distill", str(tiny()), "-o", str(self.run_dir), "--data", str(self.data), "--log-level",
             "error", *quick(**settings)], stderr=subprocess.PIPE, text=True, check=False)
        if result.returncode == 99 or "unshare" in result.stderr:
            self.skipTest(f"no small disk to be had: {result.stderr.strip()}")
        self.assertEqual(result.returncode, 1, result.stderr)
        self.assertRegex(result.stderr, r"\Aonebit: error: [^\n]*(state.safetensors|model.gguf)[^\n]*\n\Z")
        self.run_dir = self.dir / "full.copy"
        self.distill("--resume", **settings)
        self.assertEqual((self.run_dir / "state.safetensors").read_bytes(), whole)

    @needs(STORIES)
    def test_a_teacher_is_not_overwritten(self):
        model = self.run_dir / "model.gguf"
        self.run_dir.mkdir()
        model.write_bytes(STORIES.read_bytes())
        self.fails("distill", model, "-o", self.run_dir, "--data", self.data, *quick(),
                   says=["model.gguf", "another place"])
        self.assertEqual(model.read_bytes(), STORIES.read_bytes())

    def test_what_cannot_begin(self):
        fails = lambda *flags, says, **more: self.fails(  # noqa: E731
            "distill", *flags, "-o", self.run_dir, says=says, **more)
        fails(tiny(), says=["--data", "--steps"], expect=2)
        self.assertFalse(self.run_dir.exists())
        fails(tiny(), "--data", self.data, *quick(length=129), says=["129", "at most 128", "context"])
        fails(tiny(), "--data", self.data, *quick(steps=0, block_steps=0), says="found 0 for both", expect=2)
        self.assertFalse((self.run_dir / "data").exists())
        fails(tiny(), "--data", "", *quick(), says="--data: found an empty word", expect=2)
        fails(tiny(), "--data", self.data, "--eval-file", self.data, *quick(held_out=0.1), says="--held-out", expect=2)
        fails(tiny(), "--data", self.data, "--start", tiny(), "--init", "svd", *quick(), says="--init", expect=2)
        fails(tiny(), "--data", self.data, "--start", tiny(), "--latent", "levels", *quick(),
              says="--latent: found with --start", expect=2)
        fails(tiny(), "--data", self.data, *quick(), "--latent-scale", "0", says="from 1e-06 to 1e+06", expect=2)
        for flags in (("--train-ends",), ("--gradient-checkpointing",), ("--lr", "1e-3"), ("--beta", "1"),
                      ("--eval-every", "1")):
            fails(tiny(), "--data", self.data, *quick(steps=0), *flags, says=f"{flags[0]}: found with --steps 0", expect=2)
        fails(tiny(), "--data", self.data, *quick(), "--adam-beta2", "1", says="from 0 to 0.99999", expect=2)
        fails(tiny(), "--data", self.data, *quick(), "--hidden-last", says="--beta", expect=2)
        fails(tiny(), "--data", self.data, *quick(), "--epochs", "0", says="--epochs", expect=2)
        fails(tiny(), "--data", self.data, *quick(steps=2**40, batch=2**20), says="tokens in all")
        fails(tiny(), "--data", self.data, "--eval-file", self.write("short.txt", "few"), *quick(),
              says=["short.txt", "one segment of 32"])
        fails(tiny(), "--data", self.dir / "none.txt", *quick(), says="none.txt")
        fails(tiny(), "--data", self.write("empty.txt", ""), *quick(), says="one segment of 32")
        fails(tiny(), "--data", self.write("bad.jsonl", '{"text":'), *quick(),
              says=["bad.jsonl: line 1", "no valid JSON"])
        fails(tiny(), "--data", self.data, "--resume", *quick(), says="no state.safetensors")
        fails(packed(tiny()), "--data", self.data, *quick(), says="already quantised")
        fails(tiny(), "--data", self.data, "--device", "cuda", *quick(), says=["cuda", "expected cpu"])
        fails(tiny(), "--data", self.data, "--epochs", "1", *quick(), says="--epochs", expect=2)
        file = self.write("file", "")
        self.fails("distill", tiny(), "-o", file / "run", "--data", self.data, *quick(), says="file")


if __name__ == "__main__":
    unittest.main()

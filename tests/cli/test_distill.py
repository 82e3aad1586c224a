"""`onebit distill`: a run from start to packed model, interrupting and resuming it, and every way in
which a run cannot begin."""
import json
import signal
import subprocess
import time
import unittest

from harness import ONEBIT, TOOLKIT, CliTest, needs, packed, tiny


def quick(**changes):
    """Flags of a run of a second: the tiny model's context is 128."""
    settings = {"steps": 4, "length": 32, "batch": 2, "block-steps": 2, "block-segments": 2,
                **{key.replace("_", "-"): value for key, value in changes.items()}}
    return [word for key, value in settings.items() for word in (f"--{key}", str(value))]


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

    def test_a_run(self):
        said = self.distill("--json", held_out=0.3).json()
        self.assertEqual(said["tokens"], 4 * 2 * 32)
        self.assertLess(said["end"]["kl"], said["start"]["kl"])
        self.assertEqual(sorted(p.name for p in self.run_dir.iterdir()),
                         ["data", "metrics.jsonl", "model.gguf", "recipe.json", "state.safetensors"])
        rows = self.metrics()
        self.assertEqual([r["step"] for r in rows if "loss" in r], [1, 2, 3, 4])
        self.assertEqual([r["block"] for r in rows if "block" in r], [0, 1])
        recipe = json.loads((self.run_dir / "recipe.json").read_text())
        self.assertEqual((recipe["steps"], recipe["form"], recipe["block_steps"]), (4, "foldable", 2))
        info = self.onebit("info", self.run_dir / "model.gguf", "--json").json()
        self.assertEqual(info["packed"]["method"], "onebit")
        self.onebit("run", self.run_dir / "model.gguf", "-p", "line", "-n", "4", "--temp", "0")

    def test_the_papers_recipe(self):
        self.distill(recipe="paper", warmup=0, block_steps=0)
        recipe = json.loads((self.run_dir / "recipe.json").read_text())
        expected = {"form": "paper", "latent": "sign", "latent_scale": 0.01, "sign_gradient": "tanh",
                    "alpha": 1.0, "logit_scale": 0.01, "logit_reduction": "sequence", "beta": 1.0,
                    "gamma": 0.0, "hidden_last": False, "adam_beta1": 0.9, "adam_beta2": 0.98,
                    "weight_decay": 0.01, "max_grad_norm": 1.0, "scale_rate": 1.0, "lr": 4e-4,
                    "decay": "cosine", "block_steps": 0}
        self.assertEqual({key: recipe[key] for key in expected}, expected)

    def test_without_data_the_teacher_writes(self):
        self.onebit("distill", tiny(), "-o", self.run_dir, *quick())
        rows = (self.run_dir / "data" / "synth.jsonl").read_text().splitlines()
        self.assertEqual(len(rows), 4 * 2)

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
        self.assertIn("lr = 0.003, found 0.5 now", self.distill(*quiet, lr=0.5, expect=1).err)
        self.assertIn("length = 32, found 16 now", self.distill(*quiet, length=16, expect=1).err)
        self.assertEqual((self.run_dir / "recipe.json").read_bytes(), recipe)

    def test_what_cannot_begin(self):
        fails = lambda *flags, says, **more: self.fails(  # noqa: E731
            "distill", *flags, "-o", self.run_dir, says=says, **more)
        fails(tiny(), says=["--data", "--steps"], expect=2)
        fails(tiny(), "--data", self.dir / "none.txt", *quick(), says="none.txt")
        fails(tiny(), "--data", self.write("empty.txt", ""), *quick(), says="one segment of 32")
        fails(tiny(), "--data", self.write("bad.jsonl", '{"text":'), *quick(),
              says=["bad.jsonl: line 1", "no valid JSON"])
        fails(tiny(), "--data", self.data, "--resume", *quick(), says="no state.safetensors")
        fails(packed(tiny()), "--data", self.data, *quick(), says="already quantised")
        fails(tiny(), "--data", self.data, "--device", "cuda", *quick(), says="CPU")
        fails(tiny(), "--data", self.data, "--epochs", "1", *quick(), says="--epochs", expect=2)
        file = self.write("file", "")
        self.fails("distill", tiny(), "-o", file / "run", "--data", self.data, *quick(), says="file")


if __name__ == "__main__":
    unittest.main()

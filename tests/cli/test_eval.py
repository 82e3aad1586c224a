"""`onebit eval`: results in lm-eval's shape, the samples beside them, going on after an interrupt, and clear failures.

Tokens of the tiny models are bytes. A model of zero weights finds all tokens equally likely: a text of n bytes has the
log-likelihood -n ln V, and of choices of one length the first wins.
"""
import json
import math
import os
import shutil
import signal
import subprocess
import time
import unittest

from harness import ONEBIT, ROOT, SMOLLM, STORIES, TINY, CliTest, needs, tiny

ZEROSHOT = ROOT.parent / "shared" / "data" / "zeroshot"
LOG_V = math.log(TINY["vocab"])


def piqa_rows(count):
    return [{"goal": f"reach goal {i}", "sol1": "do this" + "!" * (i % 3), "sol2": "do that", "label": i % 2}
            for i in range(count)]


def mmlu_rows(subjects, count):
    return [{"question": f"what is {i}?", "subject": subject, "choices": ["a", "b", "c", "d"], "answer": i % 4}
            for subject in subjects for i in range(count)]


class EvalTest(CliTest):
    def setUp(self):
        super().setUp()
        self.data = self.dir / "data"
        self.data.mkdir()

    def rows(self, name, rows):
        path = self.data / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    def eval(self, *args, model=None, **more):
        return self.onebit("eval", model or tiny(), "--data", self.data, *args, **more)

    def broken(self, *args, says, model=None, **more):
        self.fails("eval", model or tiny(), "--data", self.data, *args, says=says, **more)


class Results(EvalTest):
    def test_uniform_model(self):
        self.rows("piqa.validation.jsonl", piqa_rows(6))
        out = self.dir / "results.json"
        self.eval("--tasks", "piqa", "-o", out, model=tiny("zero", zero=True))
        self.assertEqual(self.files(), ["data", "results.json", "results.samples.jsonl"])
        found = json.loads(out.read_text())
        lines = (self.dir / "results.samples.jsonl").read_text().splitlines()
        self.assertEqual(len(lines), 7)
        for i, line in enumerate(lines[1:]):
            sample, row = json.loads(line), piqa_rows(6)[i]
            self.assertEqual((sample["task"], sample["doc_id"], sample["target"], sample["truncated"]),
                             ("piqa", i, row["label"], False))
            for choice, text in zip(sample["choices"], (row["sol1"], row["sol2"]), strict=True):
                self.assertEqual((choice["tokens"], choice["characters"]), (len(text) + 1, len(text)))
                self.assertAlmostEqual(choice["loglikelihood"], -(len(text) + 1) * LOG_V, delta=1e-5)
            best = 0 if len(row["sol1"]) == len(row["sol2"]) else 1
            self.assertEqual(sample["acc"], float(best == row["label"]))
        # Of 6: goals 0 and 3 have equal choices.
        accuracy = [1, 1, 0, 0, 0, 1]
        self.assertEqual(found["results"]["piqa"]["acc,none"], sum(accuracy) / 6)
        self.assertAlmostEqual(found["results"]["piqa"]["acc_stderr,none"], math.sqrt(0.25 / 5), delta=1e-15)

    def test_shape(self):
        self.rows("piqa.validation.jsonl", piqa_rows(5))
        out = self.dir / "out.json"
        said = self.eval("--tasks", "piqa", "-o", out, "--limit", 3, "--json", "-t", 2).json()
        self.assertEqual(json.loads(out.read_text()), said)
        self.assertEqual(set(said["results"]["piqa"]), {"name", "alias", "sample_len", "acc,none", "acc_stderr,none",
                                                        "acc_norm,none", "acc_norm_stderr,none"})
        self.assertEqual(said["versions"], {"piqa": 1.0})
        self.assertEqual(said["n-shot"], {"piqa": 0})
        self.assertEqual(said["higher_is_better"], {"piqa": {"acc": True, "acc_norm": True}})
        self.assertEqual(said["n-samples"], {"piqa": {"original": 5, "effective": 3}})
        self.assertEqual(said["group_subtasks"], {})
        self.assertNotIn("groups", said)
        self.assertEqual(said["configs"]["piqa"]["num_fewshot"], 0)
        self.assertEqual((said["config"]["limit"], said["config"]["fewshot_seed"]), (3, 1234))
        self.assertGreaterEqual(float(said["total_evaluation_time_seconds"]), 0)
        own = said["onebit"]
        self.assertRegex(own["command"], r"\Aonebit eval \S+ --data \S+ --tasks piqa -o \S+ --limit 3 --json -t 2\Z")
        self.assertEqual((own["engine"], own["activations"], own["kv_type"], own["threads"], own["context"]),
                         ("runtime", "f32", "f32", 2, 128))
        self.assertEqual((own["split"], own["truncated"]), ({"piqa": "validation"}, {"piqa": 0}))
        self.assertEqual(own["samples"], str(self.dir / "out.samples.jsonl"))
        self.assertEqual(len(own["model_info"]["sha256"]), 64)

    def test_table(self):
        self.rows("piqa.validation.jsonl", piqa_rows(6))
        result = self.eval("--tasks", "piqa", model=tiny("zero", zero=True))
        self.assertEqual(result.lines, [
            "|Tasks|Version|Filter|n-shot| Metric |   |Value |   |Stderr|",
            "|-----|------:|------|-----:|--------|---|-----:|---|-----:|",
            "|piqa |      1|none  |     0|acc     |↑  |0.5000|±  |0.2236|",
            "|     |       |none  |     0|acc_norm|↑  |0.5000|±  |0.2236|"])
        self.assertEqual(self.files(), ["data"])

    def test_groups(self):
        subjects = ["anatomy", "virology"]
        self.rows("mmlu.test.jsonl", mmlu_rows(subjects, 4))
        self.rows("mmlu.dev.jsonl", mmlu_rows(subjects, 5))
        self.broken("--tasks", "mmlu_stem", says="found no row of subject \"abstract_algebra\"")
        names = [line.split()[0] for line in self.onebit("eval", "--tasks", "list").lines]
        stem = [name.removeprefix("mmlu_") for name in names if name.startswith("mmlu_")]
        self.assertEqual(len(stem), 57 + 4)
        self.rows("mmlu.test.jsonl", mmlu_rows(stem, 4))
        self.rows("mmlu.dev.jsonl", mmlu_rows(stem, 5))
        said = self.eval("--tasks", "mmlu", "--shots", 0, "--json", model=tiny("zero", zero=True)).json()
        self.assertEqual(len(said["results"]), 57 + 5)
        self.assertEqual(said["results"]["mmlu"]["acc,none"], 0.25)
        self.assertEqual(said["groups"]["mmlu_stem"]["alias"], "stem")
        self.assertEqual(said["group_subtasks"]["mmlu"],
                         ["mmlu_stem", "mmlu_other", "mmlu_social_sciences", "mmlu_humanities"])
        self.assertEqual((said["n-shot"]["mmlu"], said["n-shot"]["mmlu_anatomy"]), (0, 0))
        # sqrt(Σ (n - 1) n e² / (N - k) / N) with e² = 1/16 of 4 documents each, one of them right.
        self.assertAlmostEqual(said["results"]["mmlu"]["acc_stderr,none"], math.sqrt(0.25 / (4 * 57)), delta=1e-12)
        lines = self.eval("--tasks", "mmlu_stem", "--shots", 0, model=tiny("zero", zero=True)).lines
        self.assertRegex(lines[2], r"\A\|stem +\| +2\|none  \| +0\|acc   \|↑  \|0\.2500\|±  \|0\.0574\|\Z")
        self.assertRegex(lines[3], r"\A\| - abstract_algebra +\| +1\|none  \| +0\|acc ")
        self.assertRegex(lines[-1], r"\A\|stem +\|")  # the table of groups
        self.assertEqual(len(lines), 2 + 1 + 19 + 1 + 3)

    def test_lambada(self):
        self.rows("lambada_openai.test.jsonl", [{"text": "the cat sat"}, {"text": "a dog ran"}])
        zero = self.eval("--tasks", "lambada_openai", "--json", model=tiny("zero", zero=True)).json()
        found = zero["results"]["lambada_openai"]
        self.assertAlmostEqual(found["perplexity,none"] / TINY["vocab"] ** 4, 1, delta=1e-5)
        self.assertLess(found["perplexity_stderr,none"] / found["perplexity,none"], 1e-5)
        self.assertEqual(found["acc,none"], 0)

    def test_one_document_has_no_error(self):
        self.rows("piqa.validation.jsonl", piqa_rows(1))
        result = self.eval("--tasks", "piqa", "--json")
        self.assertEqual(result.json()["results"]["piqa"]["acc_stderr,none"], "N/A")
        self.assertIn("   N/A|", self.eval("--tasks", "piqa").out)

    def test_shots(self):
        rows = mmlu_rows(["anatomy"], 5)
        self.rows("mmlu.test.jsonl", rows)
        self.rows("mmlu.dev.jsonl", rows)
        said = self.eval("--tasks", "mmlu_anatomy", "--json").json()
        self.assertEqual((said["n-shot"], said["onebit"]["truncated"]), ({"mmlu_anatomy": 5}, {"mmlu_anatomy": 5}))
        self.broken("--tasks", "mmlu_anatomy", "--shots", 6, says=["mmlu.dev.jsonl", "found 5 examples, expected 6"])
        self.rows("piqa.validation.jsonl", piqa_rows(3))
        self.broken("--tasks", "piqa", "--shots", 1, says="no piqa.train.jsonl")
        self.rows("piqa.train.jsonl", piqa_rows(9))
        runs = {seed: self.eval("--tasks", "piqa", "--shots", 1, "-s", seed, "-o", self.dir / f"{seed}.json",
                                "--json").json() for seed in (1, 2)}
        self.assertEqual((runs[1]["n-shot"]["piqa"], runs[1]["config"]["fewshot_seed"]), (1, 1))
        (self.dir / "1.samples.jsonl").rename(self.dir / "2.samples.jsonl.part")
        self.broken("--tasks", "piqa", "--shots", 1, "-s", 2, "-o", self.dir / "2.json", says="seed: found 1, expected 2")
        (self.dir / "2.samples.jsonl.part").rename(self.dir / "1.samples.jsonl")
        first, second = ((self.dir / f"{seed}.samples.jsonl").read_text().splitlines()[1:] for seed in (1, 2))
        self.assertNotEqual(first, second)

    def test_truncation(self):
        rows = piqa_rows(2)
        rows[1]["goal"] = "x" * 200
        self.rows("piqa.validation.jsonl", rows)
        result = self.eval("--tasks", "piqa", "-o", self.dir / "r.json", "--json")
        self.assertEqual(result.json()["onebit"]["truncated"], {"piqa": 1})
        self.assertIn("piqa: 1 of 2 documents were longer than 128 tokens", result.err)
        lines = (self.dir / "r.samples.jsonl").read_text().splitlines()[1:]
        self.assertEqual([json.loads(line)["truncated"] for line in lines], [False, True])
        said = self.eval("--tasks", "piqa", "-c", 20, "--json").json()
        self.assertEqual((said["onebit"]["truncated"], said["onebit"]["context"]), ({"piqa": 2}, 20))

    def test_the_samples_say_what_the_results_say(self):
        self.rows("piqa.validation.jsonl", piqa_rows(40))
        said = self.eval("--tasks", "piqa", "-o", self.dir / "r.json", "--json").json()
        samples = [json.loads(line) for line in (self.dir / "r.samples.jsonl").read_text().splitlines()[1:]]
        for metric in ("acc", "acc_norm"):
            self.assertAlmostEqual(said["results"]["piqa"][f"{metric},none"], sum(s[metric] for s in samples) / 40,
                                   delta=1e-15)

    @needs(STORIES)
    @needs(ZEROSHOT)
    def test_real_sets(self):
        self.data = ZEROSHOT
        said = self.eval("--tasks", "paper,mmlu_anatomy", "--limit", 4, "--json", model=STORIES).json()
        self.assertEqual(list(said["results"]), ["winogrande", "hellaswag", "piqa", "boolq", "arc_easy",
                                                 "arc_challenge", "mmlu_anatomy"])
        self.assertEqual(said["n-samples"]["hellaswag"], {"original": 10042, "effective": 4})
        self.assertEqual(said["onebit"]["split"]["arc_easy"], "validation")

    @needs(SMOLLM)
    @needs(ZEROSHOT)
    def test_real_model(self):
        """Chance is 0.25; a model that has learned English is far from it."""
        self.data = ZEROSHOT
        said = self.eval("--tasks", "arc_easy", "--limit", 64, "--json", model=SMOLLM).json()
        self.assertGreater(said["results"]["arc_easy"]["acc,none"], 0.4)


class Resume(EvalTest):
    def setUp(self):
        super().setUp()
        self.rows("piqa.validation.jsonl", piqa_rows(70))
        self.rows("lambada_openai.test.jsonl", [{"text": f"number {i} is it"} for i in range(40)])
        self.out = self.dir / "r.json"
        self.samples = self.dir / "r.samples.jsonl"
        self.part = self.dir / "r.samples.jsonl.part"

    def run_tasks(self, *args, **more):
        return self.eval("--tasks", "piqa,lambada_openai", "-o", self.out, *args, **more)

    def figures(self):
        found = json.loads(self.out.read_text())
        return {key: found[key] for key in ("results", "versions", "n-shot", "n-samples")}

    def test_goes_on_to_the_same_bytes(self):
        self.run_tasks("-t", 1)
        whole, figures = self.samples.read_bytes(), self.figures()
        lines = whole.splitlines(keepends=True)
        self.assertEqual(len(lines), 1 + 70 + 40)
        cases = ([], lines[:1], lines[:1] + [lines[1][:9]], lines[:20], lines[:33], lines[:50], lines[:71],
                 lines[:71] + [lines[71][:-1]], lines[:90], lines)
        for threads, left in enumerate(cases):
            self.samples.unlink()
            self.part.write_bytes(b"".join(left))
            result = self.run_tasks("-t", 1 + threads % 3)
            self.assertEqual(self.samples.read_bytes(), whole)
            self.assertEqual(self.figures(), figures)
            self.assertFalse(self.part.exists())
            kept = {20: 0, 33: 32, 50: 32, 71: 70, 72: 70, 90: 70, 111: 110}.get(len(left), 0)
            if kept:
                self.assertIn(f"r.samples.jsonl.part: going on after {kept} documents", result.err)
            else:
                self.assertNotIn("going on", result.err)

    def test_another_run(self):
        self.run_tasks("--limit", 35)
        self.samples.rename(self.part)
        for change, says in ((["--limit", 36], "tasks/0/documents: found 35, expected 36"),
                             (["--limit", 35, "--kv-type", "f16"], 'kv_type: found "f32", expected "f16"'),
                             (["--limit", 35, "-c", 64], "context: found 128, expected 64")):
            self.fails("eval", tiny(), "--data", self.data, "--tasks", "piqa,lambada_openai", "-o", self.out, *change,
                       says=[str(self.part), "what another run has left", says, "--restart begins anew"])
        self.fails("eval", tiny("zero", zero=True), "--data", self.data, "--tasks", "piqa,lambada_openai", "-o",
                   self.out, "--limit", 35, says="model_sha256")
        self.rows("piqa.validation.jsonl", piqa_rows(71))
        self.broken("--tasks", "piqa,lambada_openai", "-o", self.out, "--limit", 35,
                    says="data/piqa.validation.jsonl: found")
        result = self.run_tasks("--limit", 36, "--restart")
        self.assertNotIn("going on", result.err)
        self.assertEqual(len(self.samples.read_text().splitlines()), 1 + 36 + 36)

    def test_threads_are_nobodys_business(self):
        self.run_tasks("--limit", 35, "-t", 1)
        whole = self.samples.read_bytes()
        self.samples.rename(self.part)
        self.run_tasks("--limit", 35, "-t", 3)
        self.assertEqual(self.samples.read_bytes(), whole)

    def test_broken_part(self):
        self.run_tasks()
        lines = self.samples.read_text().splitlines(keepends=True)
        other = json.loads(lines[3])
        other["doc_id"] = 9
        for wrong, says in ((["no header\n"], ["line 1", "no header of samples"]),
                            (['{"header": 1}\n'], ["line 1", "no header of samples"]),
                            (lines[:3] + ["{}\n"], ["line 4", '"task"']),
                            (lines[:3] + ["nonsense\n"] + lines[3:], ["line 4", "no JSON object"]),
                            (lines[:3] + [json.dumps(other) + "\n"],
                             ["line 4", "found document 9 of piqa, expected document 2 of piqa"])):
            self.part.write_text("".join(wrong))
            self.broken("--tasks", "piqa,lambada_openai", "-o", self.out, says=[str(self.part), "--restart", *says])

    def test_interrupt(self):
        self.rows("piqa.validation.jsonl", piqa_rows(20000))
        command = [ONEBIT, "eval", tiny(), "--data", self.data, "--tasks", "piqa", "-o", self.out]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
            while child.poll() is None and not (self.part.exists() and b"\n" in self.part.read_bytes()[2000:]):
                time.sleep(0.01)
            other = subprocess.run(command, capture_output=True, check=False)
            child.send_signal(signal.SIGINT)
            out, err = child.communicate(timeout=120)
        self.assertEqual(other.returncode, 1)
        self.assertIn(b"found another process that writes it", other.stderr)
        self.assertEqual((child.returncode, out), (130, b""))
        self.assertRegex(err.decode(), r"(?m)^onebit: error: eval was interrupted; the scores of [\d,]+ documents are "
                                       r"in \S+/r\.samples\.jsonl\.part, and the same command goes on from there$")
        left = self.part.read_bytes()
        self.assertTrue(left.endswith(b"\n"))
        self.assertEqual((left.count(b"\n") - 1) % 32, 0)
        self.assertEqual(self.files(), ["data", "r.samples.jsonl.part"])

    def test_interrupt_without_a_file(self):
        self.rows("piqa.validation.jsonl", piqa_rows(20000))
        command = [ONEBIT, "eval", tiny(), "--data", self.data, "--tasks", "piqa", "--log-level", "debug"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
            child.stderr.readline()  # "… loaded in …"
            child.send_signal(signal.SIGINT)
            out, err = child.communicate(timeout=120)
        self.assertEqual((child.returncode, out), (130, b""))
        self.assertRegex(err.decode(), r"\Aonebit: error: (eval|tokenising) was interrupted\n\Z")


class Failures(EvalTest):
    def test_unknown_task(self):
        self.broken("--tasks", "hellaswagg", expect=2, says="unknown task 'hellaswagg'; did you mean 'hellaswag'?")
        self.broken("--tasks", "piqa,quux", expect=2, says="unknown task 'quux'")
        self.broken("--tasks", ",", expect=2, says="--tasks: found no name")

    def test_missing_arguments(self):
        self.fails("eval", tiny(), "--tasks", "piqa", expect=2, says="--data")
        self.fails("eval", "--tasks", "piqa", "--data", self.data, expect=2, says="MODEL is required")
        self.fails("eval", tiny(), "--data", self.data, expect=2, says="--tasks")

    def test_missing_set(self):
        self.broken("--tasks", "piqa", says=["no piqa.validation.jsonl in", str(self.data), "baber/piqa"])
        self.broken("--tasks", "mmlu", says=["mmlu.test.jsonl", "cais/mmlu"])

    def test_broken_rows(self):
        path = self.rows("piqa.validation.jsonl", [*piqa_rows(2), {"goal": "g", "sol1": "s"}])
        self.broken("--tasks", "piqa", says=[f"{path}, line 3: sol2: found no such field, expected a string"])
        path = self.rows("piqa.validation.jsonl", [{**piqa_rows(1)[0], "label": 2}])
        self.broken("--tasks", "piqa", says=[f"{path}, line 1: label: found 2, expected a number from 0 to 1"])
        path = self.rows("piqa.validation.jsonl", [])
        self.broken("--tasks", "piqa", says=[f"{path}: found no rows"])
        path.write_text("goal,sol1\n")
        self.broken("--tasks", "piqa", says=[f"{path}, line 1: found text that is not JSON"])

    def test_a_choice_longer_than_the_context(self):
        rows = piqa_rows(3)
        rows[2]["sol2"] = "x" * 128
        self.rows("piqa.validation.jsonl", rows)
        self.broken("--tasks", "piqa", says="piqa, document 2: found a choice of 129 tokens, expected at most 128")

    def test_context_beyond_the_models(self):
        self.rows("piqa.validation.jsonl", piqa_rows(1))
        self.broken("--tasks", "piqa", "-c", 129, says=["--ctx-size: found 129", "at most 128"])

    def test_places_that_cannot_be_written(self):
        self.rows("piqa.validation.jsonl", piqa_rows(1))
        self.broken("--tasks", "piqa", "-o", self.dir / "absent" / "r.json", says="cannot create")
        self.broken("--tasks", "piqa", "-o", tiny() / "config.json", says="a file of the model itself")
        self.broken("--tasks", "piqa", "-o", self.data, says=["cannot create", "found a folder"])
        (self.dir / "r.samples.jsonl").mkdir()
        self.broken("--tasks", "piqa", "-o", self.dir / "r.json", says=["r.samples.jsonl", "found a folder"])
        self.assertEqual(self.files(), ["data", "r.samples.jsonl"])

    def test_a_set_is_not_overwritten(self):
        path = self.rows("piqa.validation.jsonl", piqa_rows(1))
        before = path.read_bytes()
        self.broken("--tasks", "piqa", "-o", path, says="found another file of this command")
        self.assertEqual(path.read_bytes(), before)

    def test_names_that_are_no_utf8(self):
        self.rows("piqa.validation.jsonl", piqa_rows(1))
        model = self.dir / os.fsdecode(b"m\xe9")
        shutil.copytree(tiny(), model)
        self.eval("--tasks", "piqa", "-o", self.dir / "r.json", model=model)
        self.assertEqual(list(json.loads((self.dir / "r.json").read_text())["results"]), ["piqa"])

    def test_restart_alone(self):
        self.fails("eval", tiny(), "--tasks", "piqa", "--data", self.data, "--restart", expect=2, says="expected -o FILE")

    def test_the_list_is_json_too(self):
        listed = self.onebit("eval", "--tasks", "list", "--json").json()
        self.assertIn("piqa", [task["task"] for task in listed["tasks"]])
        self.assertIn("mmlu", [group["group"] for group in listed["groups"]])

    def test_missing_model(self):
        self.rows("piqa.validation.jsonl", piqa_rows(1))
        self.broken("--tasks", "piqa", model=self.dir / "absent", says="no such file or folder")


if __name__ == "__main__":
    unittest.main()

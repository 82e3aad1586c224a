"""`onebit compare`: one page over results and runs, its tables as files, and inputs that it refuses."""
import csv
import html.parser
import json
import re
import shutil
import unittest

import report_inputs as made
from harness import TOOLKIT, CliTest, needs, packed, tiny

GNUPLOT = unittest.skipUnless(shutil.which("gnuplot"), "absent: gnuplot")
VOID = {"meta", "br", "hr", "img", "input", "link"}
SVG_EMPTY = {"path", "circle", "rect", "line", "polygon", "polyline", "use", "ellipse"}
FEW = {"piqa": (40, 2, 0.7), "boolq": (30, 2, 0.6)}
NASTY = "<script>alert('x')</script>|`id` \u202e & \"quoted\""


class Page(html.parser.HTMLParser):
    """Reads a page strictly: every element closed in its order, no name twice, every reference met."""

    def __init__(self, text: str):
        super().__init__()
        self.open, self.ids, self.references, self.tags, self.words = [], set(), set(), {}, []
        self.feed(text)
        self.close()
        assert not self.open, f"left open: {self.open}"
        missing = self.references - self.ids
        assert not missing, f"refers to what is not there: {missing}"

    def handle_starttag(self, tag, attrs):
        self.tags[tag] = self.tags.get(tag, 0) + 1
        for name, value in attrs:
            assert not name.startswith("on"), f"acts: {name}"
            if name == "id":
                assert value not in self.ids, f"twice: {value}"
                self.ids.add(value)
            if name in ("href", "xlink:href"):
                assert value.startswith("#"), f"leads elsewhere: {value}"
                self.references.add(value[1:])
            if name == "aria-labelledby":
                self.references.update(value.split())
            assert name != "src", "reads another file"
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> within {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


class CompareTest(CliTest):
    def perplexity(self, name, key, text="wiki.test.raw", **changes):
        return made.write(self.dir / name, made.perplexity(key, text, **changes))

    def compare(self, *args, **how):
        """The page, read strictly; and what the program said in JSON."""
        out = self.dir / "report.html"
        said = self.onebit("compare", *args, "-o", out, "--json", **how).json()
        page = Page(out.read_text(encoding="utf-8"))
        self.assertEqual(page.tags.get("figure", 0), said["figures"])
        self.assertEqual(page.tags.get("table", 0), said["tables"])
        return page, said

    def rows(self, name):
        with open(self.dir / "csv" / f"{name}.csv", encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))


@GNUPLOT
class Everything(CompareTest):
    def test_example(self):
        args = made.example(self.dir / "in")
        page, said = self.compare(*args, "--markdown", self.dir / "report.md", "--csv", self.dir / "csv")
        self.assertEqual(said["models"], ["SmolLM2 135M", "1-bit, at start", "1-bit, distilled", "org/other-135M"])
        self.assertEqual(said["runs"], ["run-nmf", "run-svd", "run-copy"])
        for words in ("Perplexity by size", "average of 6", "KL, nats a token", "MMLU by category",
                      "Differences to SmolLM2 135M", "pp512", "Training runs", "run-svd (start svd)",
                      "Sensitivity of SmolLM2 135M", "What made each number", "acc_norm (likelihood per character)"):
            self.assertIn(words, page.text)
        text = (self.dir / "report.html").read_text(encoding="utf-8")
        self.assertNotRegex(text, r"https?:|@import|url\(|<script")
        self.assertIn("var(--series-1)", text)
        self.assertNotIn("Produced by GNUPLOT", text)
        for shape in re.findall(r'<svg viewBox="[^"]*" role="img"', text):
            self.assertRegex(shape, r'"0 0 580 \d+"')

        main = {row["model"]: row for row in self.rows("main")}
        self.assertEqual(float(main["SmolLM2 135M"]["perplexity: wiki.test.raw"]), 17.61)
        self.assertNotIn("accuracy, %: PIQA notes", main["SmolLM2 135M"])
        self.assertIn("windows 4 (others: 148)", main["1-bit, at start"]["perplexity: c4_sample.jsonl notes"])
        self.assertIn("split test (others: validation)", main["org/other-135M"]["accuracy, %: ARC-c notes"])
        size = {row["model"]: row for row in self.rows("size")}
        self.assertAlmostEqual(float(size["1-bit, distilled"]["ratio"]), 2 * made.PARAMETERS / 45_912_032)
        markdown = (self.dir / "report.md").read_text(encoding="utf-8")
        self.assertIn("| model | method | bits |", markdown)
        self.assertEqual(len(list((self.dir / "csv").iterdir())), said["tables"])
        # Only what was measured alike is compared for the best.
        self.assertTrue(any("measured otherwise" in warning for warning in said["warnings"]), said["warnings"])

    def test_same_inputs_same_bytes(self):
        args = [self.perplexity("a.json", "full"), self.perplexity("b.json", "start"), made.run(self.dir / "run")]
        texts = []
        for name in ("1.html", "2.html"):
            self.onebit("compare", *args, "-o", self.dir / name)
            texts.append((self.dir / name).read_bytes())
        self.assertEqual(*texts)

    def test_names_cannot_act(self):
        info = made.model_info("start", name=NASTY, method=NASTY, path=NASTY)
        one = self.perplexity("one.json", "full", file=NASTY, program=NASTY, command=NASTY)
        two = self.perplexity("two.json", "start", file=NASTY, model_info=info)
        results = made.evaluation("start", self.dir / "eval.json", FEW, model_info=info, command=NASTY)
        run = made.run(self.dir / "run<b>'\"", init="<i>")
        page, _ = self.compare(one, two, results, run, "--title", NASTY, "--label", f"{one}=<b>label",
                               "--markdown", self.dir / "r.md", "--csv", self.dir / "csv")
        self.assertNotIn("script", page.tags)
        self.assertNotIn("b", page.tags)
        self.assertIn("<script>alert('x')</script>|`id` \ufffd & \"quoted\"", page.text)
        self.assertNotIn("<script", (self.dir / "r.md").read_text(encoding="utf-8"))


@GNUPLOT
class Joining(CompareTest):
    def test_paired_differences(self):
        """Against the samples themselves, by the standard library."""
        for key in ("full", "distilled"):
            made.evaluation(key, self.dir / f"{key}.json", FEW)
        full, other = self.dir / "full.json", self.dir / "distilled.json"
        page, said = self.compare(full, other, "--csv", self.dir / "csv", "--base", "SmolLM2 135M Instruct, full precision")
        self.assertEqual(said["warnings"], [])
        self.assertIn("Differences to SmolLM2 135M Instruct, full precision", page.text)
        scores = {}
        for path in (full, other):
            lines = path.with_name(path.stem + ".samples.jsonl").read_text(encoding="utf-8").splitlines()[1:]
            scores[path] = [json.loads(line)["acc_norm"] for line in lines if json.loads(line)["task"] == "piqa"]
        differences = [b - a for a, b in zip(scores[full], scores[other])]
        mean = sum(differences) / len(differences)
        variance = sum((d - mean) ** 2 for d in differences) / (len(differences) - 1)
        row = next(row for row in self.rows("paired") if row["task"] == "PIQA (acc_norm)")
        self.assertEqual(float(row["documents"]), len(differences))
        self.assertAlmostEqual(float(row["difference, percentage points"]), 100 * mean, places=9)
        self.assertAlmostEqual(float(row["difference, percentage points stderr"]),
                               100 * (variance / len(differences)) ** 0.5, places=9)
        self.assertEqual(float(row["right alone: this model"]), sum(d > 0 for d in differences))
        self.assertEqual(float(row["right alone: the base"]), sum(d < 0 for d in differences))

    def test_samples_that_are_not_there(self):
        path = made.evaluation("full", self.dir / "a.json", FEW)
        (self.dir / "a.samples.jsonl").unlink()
        page, said = self.compare(path)
        self.assertIn("a.json: its samples", said["warnings"][0])
        self.assertIn("no paired differences", page.text)

    def test_labels(self):
        one, two = self.perplexity("one.json", "full"), self.perplexity("two.json", "full", ppl=18.5)
        # An input after a label is an input, no second label.
        _, said = self.compare(one, "--label", f"{one}=exact", two, "--label", f"{two}=a=b", "--base", "a=b")
        self.assertEqual(said["models"], ["exact", "a=b"])

    def test_lm_eval_alone(self):
        path = made.write(self.dir / "results.json", made.lm_eval("org/name"))
        page, said = self.compare(path)
        self.assertEqual(said["models"], ["org/name"])
        self.assertIn("lm-eval 0.4.9", page.text)

    def test_accuracy(self):
        path = made.write(self.dir / "results.json", made.lm_eval("org/name"))
        for word, piqa in (("acc", 74.0), ("acc_norm", 76.0)):
            self.compare(path, "--accuracy", word, "--csv", self.dir / "csv")
            self.assertAlmostEqual(float(self.rows("main")[0]["accuracy, %: PIQA"]), piqa)
        self.fails("compare", path, "-o", self.dir / "r.html", "--accuracy", "f1", expect=2, says="acc_norm")

    @needs(TOOLKIT)
    def test_files_of_this_program(self):
        """What the commands write now is what this one reads."""
        text = self.write("text.txt", "It was a bright cold day in April. " * 12)
        student = packed(tiny())
        inputs = []
        for name, model in (("full", tiny()), ("student", student)):
            for command, flags in (("perplexity", ["-f", text, "-c", "32", "--json"]),
                                   ("bench", ["-p", "4", "-n", "2", "-r", "2", "-t", "1", "-o", "json"])):
                path = self.dir / f"{name}.{command}.json"
                path.write_text(self.onebit(command, model, *flags).out)
                inputs.append(path)
        quantized = self.write("quantize.json", self.onebit("quantize", tiny(), "-o", student, "--json").out)
        _, said = self.compare(*inputs, quantized, "--csv", self.dir / "csv")
        self.assertEqual(len(said["models"]), 2)
        self.assertEqual(len(self.rows("speed")), 2)
        self.assertEqual(len(self.rows("matrices")), 14)
        rounded = self.write("i8.json", self.onebit("perplexity", student, "-f", text, "-c", "32", "--json",
                                                    "--activations", "i8", "--kv-type", "q8_0").out)
        exact = inputs[2]
        page, _ = self.compare(exact, rounded, "--label", f"{rounded}=rounded", "--label", f"{exact}=exact")
        self.assertIn("kv_type", page.text)


class Refused(CompareTest):
    def refuse(self, *args, says, expect=1):
        self.fails("compare", *args, "-o", self.dir / "report.html", says=says, expect=expect)
        self.assertFalse((self.dir / "report.html").exists())

    def test_inputs_that_are_none(self):
        self.refuse(self.dir / "none.json", says="none.json")
        self.refuse(self.write("text.json", "hello"), says=["text.json", "not JSON"])
        self.refuse(self.write("empty.json", ""), says=["empty.json", "empty file"])
        self.refuse(self.write("list.json", "[]"), says=["list.json", "array"])
        self.refuse(self.write("other.json", '{"alpha": 1}'), says=["other.json", "alpha", "onebit eval"])
        folder = self.dir / "folder"
        folder.mkdir()
        self.refuse(folder, says=["folder/metrics.jsonl", "folder of a run"])
        made.evaluation("full", self.dir / "a.json", FEW)
        self.refuse(self.dir / "a.samples.jsonl", says=["a.samples.jsonl", "samples", "results"])
        self.refuse(made.run(self.dir / "run") / "metrics.jsonl", says=["metrics.jsonl", "folder"])

    def test_broken_inputs(self):
        self.refuse(self.perplexity("a.json", "full", ppl="many"), says=["a.json: ppl", "string", "a number"])
        value = made.lm_eval("x")
        value["results"]["piqa"] = []
        self.refuse(made.write(self.dir / "b.json", value), says=["b.json: results.piqa", "array"])
        path = made.evaluation("full", self.dir / "c.json", FEW)
        samples = self.dir / "c.samples.jsonl"
        lines = samples.read_text(encoding="utf-8")
        samples.write_text(lines + '{"task": "piqa", "doc', encoding="utf-8")
        self.refuse(path, says=["c.samples.jsonl, line 72", "not JSON"])
        samples.write_text(lines.replace('"acc": 1.0', '"acc": 0.0'), encoding="utf-8")
        self.refuse(path, says=["c.json", "samples of the same run"])

    def test_contradictions(self):
        one, two = self.perplexity("one.json", "full"), self.perplexity("two.json", "full", ppl=18.5)
        self.refuse(one, two, says=["one.json and", "two.json", "wiki.test.raw", "--label"])
        other = self.perplexity("other.json", "start")
        self.refuse(one, other, "--label", f"{one}=x", "--label", f"{other}=x", says=["--label x", "two models"])
        sized = self.perplexity("sized.json", "full", "c4_sample.jsonl", model_info=made.model_info("full", file_bytes=7))
        self.refuse(one, sized, says=["one.json and", "sized.json", "bytes"])

    def test_wrong_usage(self):
        one = self.perplexity("one.json", "full")
        self.refuse(expect=2, says="INPUT")
        self.fails("compare", one, expect=2, says="--output")
        self.refuse(one, one, expect=2, says=["one.json", "twice"])
        self.refuse(one, "--label", "x=y", expect=2, says=["--label", "x=y", "FILE=NAME"])
        self.refuse(one, "--label", f"{one}=", expect=2, says="--label")
        self.refuse(one, "--base", "nobody", says=["--base", "'nobody'", "SmolLM2 135M Instruct"])

    @GNUPLOT
    def test_outputs(self):
        one = self.perplexity("one.json", "full")
        before = one.read_bytes()
        self.fails("compare", one, "-o", one, says=["one.json", "found an input"])
        self.fails("compare", one, "-o", self.dir / "r.html", "--markdown", one, says="found an input")
        self.assertEqual(one.read_bytes(), before)
        self.fails("compare", one, "-o", self.dir / "r.html", "--markdown", self.dir / "r.html", expect=2,
                   says=["--markdown", "r.html", "another file"])
        self.fails("compare", one, "-o", self.dir / "no" / "r.html", says="no/r.html")
        self.fails("compare", one, "-o", self.dir / "r.html", "--csv", one, says=["one.json", "folder"])
        self.assertEqual(self.files(), ["one.json"])

    def test_without_gnuplot(self):
        one, two = self.perplexity("one.json", "full"), self.perplexity("two.json", "start")
        self.fails("compare", one, two, "-o", self.dir / "r.html", env={"PATH": str(self.dir)},
                   says=["gnuplot", "gnuplot-nox"])
        self.assertEqual(self.files(), ["one.json", "two.json"])


if __name__ == "__main__":
    unittest.main()

"""`onebit bench`: the shape of its table and of its JSON. What the numbers are is no test's business."""
import unittest

from harness import CliTest, packed, tiny

QUICK = ("-p", "8", "-n", "4", "-r", "2")


class Bench(CliTest):
    def test_table(self):
        lines = self.onebit("bench", tiny(), *QUICK, "-t", "1,2").lines
        self.assertEqual(lines[0], "| model | size | kernels | threads | test | tokens/s | GB/s | "
                                   "% of bandwidth |")
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:6]]
        self.assertEqual([(row[3], row[4]) for row in rows],
                         [("1", "pp8"), ("1", "tg4"), ("2", "pp8"), ("2", "tg4")])
        for row in rows:
            self.assertEqual((row[0], len(row)), (str(tiny()), 8))
            self.assertRegex(row[5], r"\A\d+\.\d\d ± \d+\.\d\d\Z")
            pattern = r"\A\d+\.\d+\Z" if row[4] == "tg4" else r"\A\Z"
            self.assertRegex(row[6], pattern)
            self.assertRegex(row[7], pattern)
        self.assertRegex(lines[-2], r"\Aloaded in \d+\.\d\d s with 1 thread, \d+\.\d\d s with 2 threads\Z")
        self.assertRegex(lines[-1], r"\Amemory reads at .* with 1 thread, .* with 2 threads; peak "
                                    r"memory .* MB\Z")

    def test_json(self):
        for flags in (("-o", "json"), ("--json",)):
            said = self.onebit("bench", packed(tiny()), *QUICK, "-t", "1", *flags).json()
            self.assertEqual([r["test"] for r in said["results"]], ["pp8", "tg4"])
            for entry in said["results"]:
                self.assertEqual(len(entry["samples"]), 2)
                mean = sum(entry["samples"]) / 2
                self.assertAlmostEqual(entry["tokens_per_second"], mean, delta=1e-9 * mean)
            generation = said["results"][1]
            self.assertAlmostEqual(
                generation["bytes_per_second"],
                generation["bytes_per_token"] * generation["tokens_per_second"],
                delta=1e-6 * generation["bytes_per_second"])
            self.assertLess(generation["bytes_per_token"], said["file_bytes"])
            self.assertEqual(said["bandwidth"][0]["threads"], 1)
            self.assertEqual([entry["threads"] for entry in said["load"]], [1])
            self.assertGreater(said["load"][0]["load_seconds"], 0)

    def test_kv_type(self):
        kept = {}
        for word in ("f32", "f16", "q8_0"):
            said = self.onebit("bench", tiny(), *QUICK, "-t", "1", "--kv-type", word, "--json").json()
            self.assertEqual(said["kv_type"], word)
            kept[word] = said["kv_bytes"]
        self.assertEqual(kept["f32"], 2 * kept["f16"])
        self.assertLess(kept["q8_0"], kept["f16"])
        self.assertEqual(self.onebit("bench", tiny(), *QUICK, "-t", "1", "--json").json()["kv_type"], "f16")

    def test_one_kind_alone(self):
        said = self.onebit("bench", tiny(), "-p", "0", "-n", "2", "-r", "1", "-t", "1", "--json")
        self.assertEqual([r["test"] for r in said.json()["results"]], ["tg2"])

    def test_nothing_to_measure(self):
        self.fails("bench", tiny(), "-p", "0", "-n", "0", expect=2,
                   says=["--n-prompt 0", "--n-gen 0"])

    def test_longer_than_the_context(self):
        self.fails("bench", tiny(), says=["512", "at most 128", str(tiny())])

    def test_threads_before_the_model(self):
        said = self.onebit("bench", "-t", "1,2", tiny(), "-p", "4", "-n", "0", "-r", "1", "--json")
        self.assertEqual([r["threads"] for r in said.json()["results"]], [1, 2])

    def test_bad_threads(self):
        self.fails("bench", tiny(), "-t", "1,x", expect=2, says=["--threads", "x"])


if __name__ == "__main__":
    unittest.main()

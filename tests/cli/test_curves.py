"""`onebit curves`: pictures of what runs have measured, and what cannot be drawn."""
import json
import shutil
import unittest
import xml.etree.ElementTree

from harness import CliTest

SVG = "{http://www.w3.org/2000/svg}"


class Curves(CliTest):
    def run_folder(self, name, steps=20, rows=None):
        folder = self.dir / name
        folder.mkdir(parents=True)
        rows = rows if rows is not None else [
            {"step": 0, "block": 0, "block_error": 0.5}, {"step": 0, "held_out_kl": 5.0},
            *({"step": i + 1, "loss": 5 / (i + 1), "kl": 4 / (i + 1), "hidden": 0.0, "lr": 1e-3 * i}
              for i in range(steps)),
            {"step": steps, "held_out_kl": 0.5}]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 21, "lo')
        return folder

    @unittest.skipUnless(shutil.which("gnuplot"), "absent: gnuplot")
    def test_pictures(self):
        one, two = self.run_folder("one"), self.run_folder('deep/it\'s "two" $x `id`')
        svg, png = self.dir / "c.svg", self.dir / "c.png"
        said = self.onebit("curves", one, two, "-o", svg, "--smooth", "3", "--json").json()
        self.assertEqual(said["panels"], 4)  # hidden does not vary
        root = xml.etree.ElementTree.parse(svg).getroot()
        self.assertEqual(root.tag, SVG + "svg")
        words = {(text.text or "").strip() for text in root.iter(SVG + "text")}
        words |= {"".join(text.itertext()).strip() for text in root.iter(SVG + "text")}
        for word in ("held-out KL, nats a token", "training KL, nats a token", "loss", "learning rate", "one",
                     'it\'s "two" $x `id`'):
            self.assertIn(word, words)
        self.assertNotIn("hidden-state term", words)
        self.onebit("curves", one, "-o", png, "--show", "kl", "--show", "hidden", "--log")
        self.assertEqual(png.read_bytes()[:8], b"\x89PNG\r\n\x1a\n")
        # Runs of one name are told apart by their paths.
        self.onebit("curves", one, self.run_folder("other/one"), "-o", svg)
        words = {"".join(t.itertext()).strip() for t in xml.etree.ElementTree.parse(svg).getroot().iter(SVG + "text")}
        self.assertIn(str(one), words)

    def test_what_cannot_be_drawn(self):
        one = self.run_folder("one")
        self.fails("curves", one, "-o", self.dir / "c.pdf", expect=2, says=["c.pdf", ".svg or .png"])
        self.fails("curves", self.dir / "none", "-o", self.dir / "c.svg", says=["none/metrics.jsonl"])
        self.fails("curves", self.run_folder("empty", rows=[]), "-o", self.dir / "c.svg", says="nothing to draw")
        self.fails("curves", one, "-o", self.dir / "c.svg", "--show", "speed", expect=2,
                   says=["--show: found 'speed', expected one of", "kl"])
        self.onebit("curves", "--show", "kl", one, "-o", one / "c.svg")  # an input, no second word of --show
        self.fails("curves", one, "-o", self.dir / "c.svg", env={"PATH": str(self.dir)},
                   says=["gnuplot", "gnuplot-nox"])
        self.assertEqual(self.files(), ["empty", "one"])
        self.fails("curves", one, "-o", self.dir / "no" / "c.svg", says="no")


if __name__ == "__main__":
    unittest.main()

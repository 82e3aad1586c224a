"""`onebit info`: what it says of full-precision and of packed models, against sizes computed here."""
import unittest

from harness import (SMOLLM, STORIES, STORIES_FOLDER, TINY, CliTest, needs, packed, tiny,
                     tiny_shapes)


def matrices(sizes):
    return [shape for name, shape in tiny_shapes(sizes) if "proj" in name]


def weights(shapes):
    return sum(rows * cols for rows, cols in shapes)


PARAMETERS = sum(shape[0] * (shape[1] if len(shape) == 2 else 1) for _, shape in tiny_shapes(TINY))


class Info(CliTest):
    def test_full_precision_folder(self):
        info = self.onebit("info", tiny(), "--json").json()
        self.assertEqual(info["architecture"], "llama")
        for key, value in (("layers", "layers"), ("dim", "dim"), ("ffn", "ffn"), ("vocab", "vocab"),
                           ("heads", "heads"), ("kv_heads", "kv_heads"), ("head_dim", "head_dim"),
                           ("context", "context")):
            self.assertEqual(info[key], TINY[value])
        self.assertIs(info["tied_head"], True)
        self.assertIs(info["chat_template"], True)
        self.assertEqual(info["parameters"], PARAMETERS)
        self.assertEqual(info["types"], {"f32": len(list(tiny_shapes(TINY)))})
        size = (tiny() / "model.safetensors").stat().st_size
        self.assertEqual(info["file_bytes"], size)
        self.assertAlmostEqual(info["file_bits_per_weight"], 8 * size / PARAMETERS, places=12)
        self.assertEqual(info["matrices"], {
            "count": 14, "weights": weights(matrices(TINY)), "bytes": 4 * weights(matrices(TINY)),
            "bits_per_weight": 32.0})
        self.assertNotIn("packed", info)
        self.assertIn(info["kernels"], info["available_kernels"])
        self.assertIn("scalar", info["available_kernels"])

    def test_packed(self):
        model = packed(tiny(), "--form", "paper")
        info = self.onebit("info", model, "--json").json()
        # A row of `in` signs takes whole words of 64; g and h are f16.
        stored = sum(rows * 8 * -(-cols // 64) + 2 * (rows + cols) for rows, cols in matrices(TINY))
        self.assertEqual(info["matrices"]["bytes"], stored)
        self.assertAlmostEqual(info["matrices"]["bits_per_weight"],
                               8 * stored / weights(matrices(TINY)), places=12)
        self.assertEqual(info["types"], {"sign1": 14, "q8_0": 1, "f32": 5})
        self.assertEqual(info["parameters"], PARAMETERS)  # as before packing
        self.assertEqual(info["file_bytes"], model.stat().st_size)
        made = info["packed"]
        self.assertEqual((made["method"], made["form"]), ("onebit", "paper"))
        self.assertEqual(made["source_name"], "tiny")
        self.assertRegex(made["source_sha256"], r"\A[0-9a-f]{64}\Z")
        self.assertRegex(made["program"], r"\Aonebit \d")

    def test_names_do_not_drive_the_terminal(self):
        folder = self.dir / "re\x1b[31md\x9b2J\x7f \u00e9\tx"
        folder.mkdir()
        for path in tiny().iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
        lines = self.onebit("info", folder).lines
        self.assertEqual(lines[0].split(maxsplit=1),
                         ["name", "re\ufffd[31md\ufffd2J\ufffd \u00e9 x"])
        self.assertFalse([c for line in lines for c in line if c < " " or "\x7f" <= c <= "\x9f"])
        self.fails("info", self.dir / "no\x1b[31m\x9bsuch",
                   says="no\ufffd[31m\ufffdsuch: no such file")

    def test_tensors(self):
        listed = self.onebit("info", packed(tiny()), "--json", "--tensors").json()["tensors"]
        self.assertEqual([t["name"] for t in listed if t["matrix"]][:2], ["blk.0.attn_q",
                                                                         "blk.0.attn_k"])
        down = next(t for t in listed if t["name"] == "blk.1.ffn_down")
        self.assertEqual((down["shape"], down["type"]), ([96, 160], "sign1"))
        self.assertEqual(down["bytes"], 96 * 24 + 2 * (96 + 160))

    def test_text(self):
        text = self.onebit("info", packed(tiny())).out
        for row in (r"architecture +llama", r"attention +6 heads of 16, 2 for keys and values",
                    r"matrices +14: 141,312 weights, .* bits per weight",
                    r"whole file +\d+\.\d{4} bits per weight",
                    r"method +onebit, form free", r"source +tiny, sha256 [0-9a-f]{64}",
                    r"made by +onebit \d", r"kernels +\w+"):
            self.assertRegex(text, rf"(?m)^{row}")

    @needs(SMOLLM)
    def test_real_gguf(self):
        info = self.onebit("info", SMOLLM, "--json").json()
        self.assertEqual(info["parameters"], 134_515_008)
        self.assertEqual(info["types"], {"f32": 61, "q4_1": 210, "q8_0": 1})
        self.assertEqual(info["matrices"]["weights"], 106_168_320)
        self.assertEqual(info["matrices"]["bits_per_weight"], 5.0)  # q4_1: 20 bytes a block of 32
        self.assertEqual(info["file_bytes"], SMOLLM.stat().st_size)
        self.assertIn("Smollm2", info["name"])

    @needs(STORIES)
    def test_folder_and_gguf_agree(self):
        both = [self.onebit("info", model, "--json").json() for model in (STORIES, STORIES_FOLDER)]
        for info in both:
            for key in ("path", "name", "file_bytes", "file_bits_per_weight"):
                del info[key]
        self.assertEqual(*both)


if __name__ == "__main__":
    unittest.main()

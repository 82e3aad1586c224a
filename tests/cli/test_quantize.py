"""`onebit quantize`: its rows and totals, every form, start and split, the file that Python's gguf
reads, and every way in which an output can fail to appear."""
import itertools
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import subprocess
import unittest

from harness import (ONEBIT, SMOLLM, STORIES, STORIES_FOLDER, TINY, TOOLKIT, CliTest, needs, packed,
                     tiny, tiny_shapes)

try:
    import gguf
    import numpy as np
except ImportError:
    gguf = None

FORMS = ("paper", "free", "foldable")
INITS = ("nmf", "svd", "copy")
SPLITS = ("rms", "balanced", "in", "out")
ROW = r"^(\S+) +\[(\d+), (\d+)\] +(\d+\.\d{6}) +(\d+\.\d{4})$"


def read_safetensors(path: pathlib.Path):
    data = path.read_bytes()
    begin = 8 + int.from_bytes(data[:8], "little")
    values = np.frombuffer(data, np.float32, offset=begin)
    tensors = {}
    for name, entry in json.loads(data[8:begin]).items():
        first, last = (offset // 4 for offset in entry["data_offsets"])
        tensors[name] = values[first:last].reshape(entry["shape"])
    return tensors


@needs(TOOLKIT)
class Quantize(CliTest):
    def rows(self, result):
        """Name, shape, relative error and bits per weight of every row between head and totals."""
        head, rest = result.lines[0], result.lines[1:]
        self.assertEqual(head.split(), ["matrix", "shape", "rel.", "error", "bits/weight"])
        end = rest.index("")
        rows = []
        for line in rest[:end]:
            self.assertRegex(line, ROW)
            name, out, width, error, bits = re.match(ROW, line).groups()
            rows.append((name, (int(out), int(width)), float(error), float(bits)))
        return rows, rest[end + 1:]

    def test_rows_then_totals(self):
        result = self.onebit("quantize", tiny(), "-o", self.dir / "out.gguf")
        rows, totals = self.rows(result)
        expected = [shape for name, shape in tiny_shapes(TINY) if "proj" in name]
        self.assertEqual([shape for _, shape, _, _ in rows], expected)
        self.assertEqual(rows[0][0], "blk.0.attn_q")
        self.assertEqual(rows[-1][0], "blk.1.ffn_down")
        for _, (out, width), error, bits in rows:
            stored = out * 8 * -(-width // 64) + 2 * (out + width)
            self.assertAlmostEqual(bits, 8 * stored / (out * width), delta=5e-5)
            # Uniform weights on [-1, 1]: at most 1 - E|w|²/E[w²] = 1/4 with one scale, less with
            # one a row and column, which fit some of the noise: 2/sqrt(n) of it.
            self.assertLess(error, 0.25)
            self.assertGreater(error, 0.15)
        self.assertRegex(totals[0], r"^14 matrices: 141,312 weights, \d+\.\d kB, relative error "
                                    r"0\.\d{6}, \d+\.\d{4} bits per weight$")
        self.assertRegex(totals[1], r"^whole file: [\d,]+ parameters, \d+\.\d kB, \d+\.\d{4} bits "
                                    r"per weight$")
        self.assertRegex(totals[2], rf"^wrote {self.dir}/out.gguf in \d+\.\d s$")
        self.assertEqual(self.files(), ["out.gguf"])

    def test_json_says_the_same(self):
        text, totals = self.rows(self.onebit("quantize", tiny(), "-o", self.dir / "a.gguf"))
        said = self.onebit("quantize", tiny(), "-o", self.dir / "b.gguf", "--json").json()
        self.assertEqual([m["name"] for m in said["matrices"]], [name for name, *_ in text])
        for matrix, (_, _, error, bits) in zip(said["matrices"], text):
            self.assertAlmostEqual(matrix["relative_error"], error, delta=5.1e-7)
            self.assertAlmostEqual(matrix["bits_per_weight"], bits, delta=5.1e-5)
        self.assertIn(f"{said['totals']['relative_error']:.6f}", totals[0])
        self.assertEqual(said["totals"]["file_bytes"], (self.dir / "b.gguf").stat().st_size)
        self.assertEqual((self.dir / "a.gguf").read_bytes(), (self.dir / "b.gguf").read_bytes())

    @needs(STORIES)
    def test_every_form_start_and_split(self):
        errors = {}
        # Paper and free are the same to a matrix; what is shared in the form foldable costs some error.
        own = itertools.cycle(form for form in FORMS if form != "foldable")
        for init, split, folds in itertools.product(INITS, SPLITS, (False, True)):
            out = self.dir / "out.gguf"
            form = "foldable" if folds else next(own)
            said = self.onebit("quantize", STORIES, "-o", out, "--form", form, "--init", init,
                               "--split", split, "--json").json()
            self.assertEqual(len(said["matrices"]), 35)
            errors[folds, init, split] = said["totals"]["relative_error"]
            self.assertEqual(self.onebit("info", out, "--json").json()["packed"]["form"], form)
            self.assertEqual("only training" in self.onebit("quantize", tiny(), "-o", out, "--init", init).err,
                             init == "copy")
        for (folds, init, split), error in errors.items():
            self.assertAlmostEqual(error, errors[folds, init, "rms"], delta=1e-6, msg=(init, split))
        for folds in (False, True):
            # At rank 1 NMF and SVD meet; without scales the fit is far worse.
            self.assertAlmostEqual(errors[folds, "nmf", "rms"], errors[folds, "svd", "rms"], delta=1e-6)
            self.assertGreater(errors[folds, "copy", "rms"], 1)
        self.assertGreater(errors[True, "nmf", "rms"], errors[False, "nmf", "rms"])

    @needs(STORIES)
    def test_groups_of_inputs(self):
        """The smaller the groups, the closer the fit and the more bits."""
        last = None
        for size in (0, 128, 64, 32):
            out = self.dir / "out.gguf"
            said = self.onebit("quantize", STORIES, "-o", out, "--group-size", size, "--json").json()
            found = said["totals"]["relative_error"], said["totals"]["bits_per_weight"]
            self.assertEqual(said["form"], "foldable" if size else "free")
            if size in (64, 32):  # 128: most of its matrices, 64 wide, have one group
                self.assertLess(found[0], last[0])
                self.assertGreater(found[1], last[1])
            last = found
            self.onebit("run", out, "-p", "Once", "-n", "4", "--temp", "0")
        self.fails("quantize", STORIES, "-o", out, "--group-size", "48", expect=2, says=["48", "16, 32, 64 or 128"])
        self.fails("quantize", STORIES, "-o", out, "--group-size", "64", "--form", "free", expect=2,
                   says=["64", "form free", "foldable"])
        self.fails("quantize", STORIES, "-o", out, "--group-size", "64", "--init", "svd",
                   says=["svd", "nmf or copy"])

    @needs(STORIES)
    def test_folder_and_gguf_give_the_same_matrices(self):
        said = [self.onebit("quantize", model, "-o", self.dir / "out.gguf", "--json").json()
                for model in (STORIES, STORIES_FOLDER)]
        self.assertEqual(said[0]["matrices"], said[1]["matrices"])

    def test_types_of_what_stays_dense(self):
        for embed in ("f32", "f16", "bf16", "q8_0", "q4_0"):
            info = self.onebit("info", packed(tiny(), "--embed", embed), "--json").json()
            self.assertEqual(info["types"].get(embed, 0), 6 if embed == "f32" else 1)

    def test_threads_do_not_matter(self):
        one, many = packed(tiny(), "-t", "1"), packed(tiny(), "-t", "3")
        self.assertEqual(one.read_bytes(), many.read_bytes())

    def test_rows_that_do_not_fit_a_type(self):
        model = tiny("narrow", dim=72, heads=6, head_dim=12)
        self.fails("quantize", model, "-o", self.dir / "out.gguf",
                   says=["token_embd", "rows of 72", "multiple of 32", "f16"])
        self.onebit("quantize", model, "-o", self.dir / "out.gguf", "--embed", "f16")

    def test_packed_source(self):
        source = packed(tiny())
        self.fails("quantize", source, "-o", self.dir / "again.gguf",
                   says=[str(source), "already quantised", "expected a full-precision model"])
        self.assertEqual(self.files(), [])

    def test_weights_that_are_not_finite(self):
        shutil.copytree(tiny(), self.dir / "broken")
        weights = self.dir / "broken" / "model.safetensors"
        data = bytearray(weights.read_bytes())
        begin = 8 + int.from_bytes(data[:8], "little")
        at = begin + 4 * (TINY["vocab"] * TINY["dim"] + TINY["dim"])  # first of layer 0's q_proj
        data[at:at + 4] = b"\x00\x00\xc0\x7f"
        weights.write_bytes(data)
        self.fails("quantize", self.dir / "broken", "-o", self.dir / "out.gguf",
                   says=["blk.0.attn_q", "nan", "finite"])
        self.assertEqual(self.files(), ["broken"])

    @unittest.skipUnless(gguf, "absent: Python's gguf (tools/setup.sh installs it)")
    def test_python_reads_the_file(self):
        everything = ("attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
        # q and k have their rows reordered. What folds into v and up cannot be told from their own.
        for form, scales, names in (("paper", "f16", everything), ("free", "f32", everything),
                                    ("foldable", "f32", ("attn_output", "ffn_gate", "ffn_down"))):
            with self.subTest(form=form):
                path = packed(tiny(), "--form", form, "--scales", scales)
                self.check_with_gguf(path, form, names)

    def check_with_gguf(self, path, form, names):
        reader = gguf.GGUFReader(path)
        self.assertEqual(reader.get_field("onebit.layout").contents(), "sign1.v1")
        self.assertEqual(reader.get_field("onebit.form").contents(), form)
        tensors = {tensor.name: tensor for tensor in reader.tensors}
        source = read_safetensors(tiny() / "model.safetensors")
        errors = {m["name"]: m["relative_error"] for m in self.onebit(
            "quantize", tiny(), "-o", self.dir / "out.gguf", "--form", form, "--json").json()["matrices"]}
        hugging_face = {"attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
                        "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
        for ours in names:
            weights = source[f"model.layers.1.{hugging_face[ours]}.weight"]
            sign = tensors[f"blk.1.{ours}.sign"]
            self.assertEqual(sign.tensor_type, gguf.GGMLQuantizationType.I8)
            # The lines that docs/formats.md gives.
            bits = np.unpackbits(sign.data.view(np.uint8), axis=1,
                                 bitorder="little")[:, :weights.shape[1]]
            signs = 1 - 2 * bits.astype(np.float32)
            np.testing.assert_array_equal(signs, np.where(weights < 0, -1, 1))
            if form == "foldable":
                self.assertNotIn(f"blk.1.{ours}.in_scale", tensors)
                if ours != "ffn_gate":
                    continue
                norm = source["model.layers.1.post_attention_layernorm.weight"].astype(np.float64)
                g = tensors["blk.1.ffn_norm.weight"].data / norm
            else:
                g = tensors[f"blk.1.{ours}.in_scale"].data.astype(np.float64)
            h = tensors[f"blk.1.{ours}.out_scale"].data.astype(np.float64)
            error = (((weights - signs * np.outer(h, g)) ** 2).sum() /
                     (weights.astype(np.float64) ** 2).sum())
            # f16 rounds each scale by at most 2^-11, so Ŵ by 2^-10; at the minimum of the error
            # only the square of that counts.
            self.assertAlmostEqual(error, errors[f"blk.1.{ours}"], delta=2**-20)


@needs(TOOLKIT)
class Output(CliTest):
    """Whole or not at all; one line says why not."""

    def test_missing_folder(self):
        out = self.dir / "absent" / "out.gguf"
        self.fails("quantize", tiny(), "-o", out, says=[f"cannot create {out}", "No such file"])

    def test_unwritable_folder(self):
        if os.geteuid() != 0:
            folder = self.dir
            folder.chmod(0o500)
        else:
            folder = pathlib.Path("/proc")  # not even root writes there
            if not folder.is_mount():
                self.skipTest("no /proc here")
        self.fails("quantize", tiny(), "-o", folder / "out.gguf",
                   says=f"cannot create {folder}/out.gguf")

    def test_folder_in_the_way(self):
        (self.dir / "out.gguf").mkdir()
        self.fails("quantize", tiny(), "-o", self.dir / "out.gguf",
                   says=[f"{self.dir}/out.gguf", "found a folder", "expected a file"])
        self.assertEqual(self.files(), ["out.gguf"])

    def test_devices_are_not_replaced(self):
        for device in ("/dev/null", "/dev/full"):
            self.fails("quantize", tiny(), "-o", device, says=[device, "found a device"])
            self.assertFalse(pathlib.Path(device).is_file())

    def test_full_disk(self):
        """A file system of 64 kB, in a user namespace of its own, which some systems forbid."""
        mount = 'mount -t tmpfs -o size=64k none "$1" && shift && exec "$@"'
        space = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount, "-"]
        if subprocess.run([*space, self.dir, "true"], check=False, capture_output=True).returncode:
            self.skipTest("no mounts in a user namespace here")
        command = [*space, self.dir, "sh", "-c", '"$@"; echo "exit $?"; ls', "-",
                   ONEBIT, "quantize", tiny(), "-o", self.dir / "out.gguf", "--embed", "f32"]
        done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=self.dir)
        self.assertRegex(done.stderr, r"\Aonebit: error: cannot write \S+/out.gguf: No space left on "
                                      r"device\n\Z")
        self.assertTrue(done.stdout.endswith("exit 1\n"), done.stdout)

    def test_limit_on_file_size(self):
        """What a quota or `ulimit -f` does: the write fails, and must not kill."""
        def limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
        self.fails("quantize", tiny(), "-o", self.dir / "out.gguf", "--embed", "f32",
                   preexec_fn=limit, says=["cannot write", "out.gguf", "File too large"])
        self.assertEqual(self.files(), [])

    def test_failure_keeps_what_was_there(self):
        old = self.write("out.gguf", "what an earlier run made")
        self.fails("quantize", tiny("narrow", dim=72, heads=6, head_dim=12), "-o", old,
                   says="multiple of 32")
        self.assertEqual(old.read_text(), "what an earlier run made")
        self.onebit("quantize", tiny(), "-o", old)
        self.assertEqual(old.read_bytes()[:4], b"GGUF")
        self.assertEqual(self.files(), ["out.gguf"])

    def test_source_is_not_replaced(self):
        """Full precision cannot be had back: neither the model itself nor a file of its folder."""
        shutil.copytree(tiny(), self.dir / "tiny")
        weights = self.dir / "tiny" / "model.safetensors"
        before = weights.read_bytes()
        for out in (weights, self.dir / "tiny" / "config.json", self.link(weights)):
            self.fails("quantize", self.dir / "tiny", "-o", out, says=[str(out), "another place"])
        for _ in range(2):  # an earlier output is no file of the model
            self.onebit("quantize", self.dir / "tiny", "-o", self.dir / "tiny" / "new.gguf")
        self.assertEqual(weights.read_bytes(), before)

    def link(self, target):
        link = self.dir / "link.gguf"
        link.symlink_to(target)
        return link

    def test_closed_pipe_does_not_lose_the_file(self):
        """`onebit quantize … | head -1`: the rows are for reading, the file is the result."""
        reader, writer = os.pipe()
        os.close(reader)
        try:
            result = self.onebit("quantize", tiny(), "-o", self.dir / "out.gguf", stdout=writer)
        finally:
            os.close(writer)
        self.assertEqual(result.err, "")
        self.assertEqual((self.dir / "out.gguf").read_bytes(), packed(tiny()).read_bytes())

    @needs(SMOLLM)
    def test_interrupt(self):
        for wanted in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            command = [ONEBIT, "quantize", SMOLLM, "-o", self.dir / "out.gguf"]
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
                child.stdout.readline()  # the head of the table
                child.stdout.readline()  # the first of 210 matrices
                child.send_signal(wanted)
                child.send_signal(wanted)  # as `timeout` does: to the program, then to its group
                _, err = child.communicate(timeout=120)
            self.assertEqual(child.returncode, 130)
            self.assertRegex(err.decode(), r"\Aonebit: error: interrupted after \d+ of \d+ tensors; "
                                           r"nothing written\n\Z")
            self.assertEqual(self.files(), [])


if __name__ == "__main__":
    unittest.main()

"""The program around the commands: help, versions, wrong usage, models that do not open, closed and
full outputs."""
import os
import pathlib
import unittest

from harness import TOOLKIT, CliTest, needs, tiny


class Help(CliTest):
    def test_help_lists_every_command(self):
        text = self.onebit("help").out
        for command in ("info", "run", "perplexity", "bench", "quantize", "distill"):
            self.assertRegex(text, rf"(?m)^  {command} +\S")
        self.assertEqual(text, self.onebit("--help").out)
        self.assertEqual(text, self.onebit("-h").out)

    def test_help_of_a_command(self):
        text = self.onebit("perplexity", "--help").out
        self.assertIn("--kl-teacher", text)
        self.assertIn("--log-level", text)
        self.assertEqual(text, self.onebit("help", "perplexity").out)

    @needs(TOOLKIT)
    def test_help_of_a_toolkit_command(self):
        text = self.onebit("quantize", "--help").out
        self.assertIn("--split", text)
        self.assertEqual(text, self.onebit("help", "quantize").out)

    def test_version(self):
        self.assertRegex(self.onebit("--version").out, r"\Aonebit \d+\.\d+\.\d+\n\Z")


class WrongUsage(CliTest):
    def test_no_command(self):
        self.fails(expect=2, says="no command")

    def test_unknown_command(self):
        self.fails("frobnicate", expect=2, says=["unknown command 'frobnicate'", "onebit help"])

    def test_unknown_command_that_is_near_one(self):
        for typed, meant in (("quantise", "quantize"), ("perplexty", "perplexity"), ("rnu", "run"),
                             ("Info", "info"), ("benchmark", "bench")):
            self.fails(typed, expect=2, says=f"did you mean '{meant}'?")

    def test_help_of_an_unknown_command(self):
        self.fails("help", "rum", expect=2, says=["unknown command 'rum'", "did you mean 'run'?"])

    def test_option_in_place_of_a_command(self):
        self.fails("--threads", "2", expect=2, says="unknown option '--threads'")

    def test_unknown_option(self):
        self.fails("info", "m.gguf", "--frob", expect=2, says=["unknown option '--frob'",
                                                               "onebit info --help"])
        self.fails("perplexity", "m.gguf", "-f", "t", "--kl-techer=x", expect=2,
                   says="unknown option '--kl-techer'; did you mean '--kl-teacher'?")

    def test_missing_model(self):
        self.fails("info", expect=2, says="MODEL")

    def test_missing_required_option(self):
        self.fails("perplexity", "m.gguf", expect=2, says="--file")

    def test_bad_choice(self):
        self.fails("perplexity", "m.gguf", "-f", "t", "--protocol", "mine", expect=2,
                   says=["--protocol", "found 'mine'", "paper, llama.cpp"])

    def test_numbers(self):
        for flag, word, expected in (
                ("--top-p", "1.5", "a number from 1e-06 to 1"), ("--temp", "nan", "from 0 to 100"),
                ("--temp", "-1", "from 0 to 100"), ("--n-predict", "many", "at least -1"),
                ("--n-predict", "3x", "at least -1"), ("--ctx-size", "-5", "at least 0"),
                ("--threads", "2000", "a whole number from 0 to 1024"),
                ("--seed", "99999999999999999999", "from -1 to 9223372036854775807"),
                ("--ctx-size", "1099511627777", "from 0 to 1099511627776")):
            self.fails("run", "m.gguf", "-p", "x", flag, word, expect=2,
                       says=[f"{flag}: found '{word}'", expected])

    def test_leading_zeros_are_decimal(self):
        said = self.onebit("run", tiny(), "-p", "x", "-n", "010", "--ignore-eos", "-s", "0100",
                           "--json").json()
        self.assertEqual((said["generated_tokens"], said["seed"]), (10, 100))

    def test_common_flags_go_everywhere(self):
        """What a command has no use for is taken and named."""
        common = ("-t", "1", "-c", "64", "-s", "1", "--device", "cpu")
        self.assertEqual(self.onebit("run", tiny(), "-p", "x", "-n", "1", *common).code, 0)
        err = self.onebit("info", tiny(), *common).err
        for flag in ("--threads", "--ctx-size", "--seed"):
            self.assertIn(f"{flag}: this command has no use for it", err)
        self.fails("info", tiny(), "--device", "cuda", says=["--device", "expected cpu"])
        self.fails("info", tiny(), "-t", "x", expect=2, says="error: --threads: found 'x'")
        self.assertNotIn("--threads", self.onebit("info", "--help").out)

    def test_empty_names(self):
        self.fails("info", "", expect=2, says=["MODEL", "empty"])
        self.fails("perplexity", "m.gguf", "-f", "", expect=2, says=["--file", "empty"])

    def test_two_models(self):
        self.fails("info", "a.gguf", "b.gguf", expect=2, says="unexpected argument 'b.gguf'")


class Models(CliTest):
    """What every command says of a model that it cannot open."""

    def test_missing(self):
        for command in (["info"], ["run", "-p", "x"], ["bench"]):
            self.fails(*command, self.dir / "absent.gguf",
                       says=[str(self.dir / "absent.gguf"), "no such file or folder"])

    def test_neither_gguf_nor_folder(self):
        text = self.write("model.gguf", "just some text, long enough to be read as a header")
        self.fails("info", text, says=[str(text), "neither a GGUF file nor a folder"])
        self.fails("info", self.dir, says=[str(self.dir), "found a folder without config.json", "its model.gguf is"])

    def test_empty_file(self):
        self.fails("info", self.write("empty.gguf", ""), says="empty.gguf")

    def test_folder_without_config(self):
        self.fails("info", self.dir, says=[str(self.dir), "config.json"])

    def test_config_without_weights(self):
        self.write("config.json", (tiny() / "config.json").read_bytes())
        self.fails("info", self.dir, says=[str(self.dir), "safetensors"])

    def test_other_architecture(self):
        self.write("config.json", '{"model_type": "mamba", "architectures": ["MambaForCausalLM"]}')
        self.fails("info", self.dir, says=["mamba", "expected"])

    def test_truncated_weights(self):
        for path in tiny().iterdir():
            self.write(path.name, path.read_bytes())
        weights = self.dir / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-100])
        self.fails("info", self.dir, says="model.safetensors")

    def test_nonsense_after_the_magic(self):
        self.fails("info", self.write("bad.gguf", b"GGUF" + b"\xff" * 60), says="bad.gguf")


class InstructionSets(CliTest):
    def test_unknown(self):
        for command in (["info"], ["run", "-p", "x", "-n", "1"]):
            self.fails(*command, tiny(), env={"ONEBIT_ISA": "mmx"},
                       says=["ONEBIT_ISA", "instruction set 'mmx'", "scalar"])

    def test_forced(self):
        chosen = self.onebit("info", tiny(), "--json", env={"ONEBIT_ISA": "scalar"}).json()
        self.assertEqual(chosen["kernels"], "scalar")


class Outputs(CliTest):
    def test_closed_pipe_is_quiet(self):
        reader, writer = os.pipe()
        os.close(reader)
        try:
            result = self.onebit("info", tiny(), "--tensors", stdout=writer)
        finally:
            os.close(writer)
        self.assertEqual(result.err, "")

    @needs(pathlib.Path("/dev/full"))
    def test_full_disk_behind_stdout(self):
        with open("/dev/full", "wb") as full:
            self.fails("info", tiny(), stdout=full,
                       says=["cannot write to standard output", "No space left"])

    def test_log_level_off_leaves_stderr_empty(self):
        result = self.onebit("run", tiny(), "-p", "a", "-n", "3", "--log-level", "off")
        self.assertEqual(result.err, "")


if __name__ == "__main__":
    unittest.main()

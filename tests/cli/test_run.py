"""`onebit run`: completion and chat. Random models generate bytes that need not be UTF-8; texts are
compared, real ones with what is known of the model."""
import json
import os
import pty
import signal
import subprocess
import unittest

from harness import ONEBIT, SMOLLM, STORIES, STORIES_FOLDER, CliTest, needs, packed, tiny

STORY = ("-p", "Once upon a time", "-n", "40", "--temp", "0")


class Complete(CliTest):
    def test_greedy_is_deterministic(self):
        first = self.onebit("run", tiny(), "-p", "abc", "-n", "20", "--temp", "0", "-t", "1")
        again = self.onebit("run", tiny(), "-p", "abc", "-n", "20", "--temp", "0", "-t", "2")
        self.assertEqual(first.out_bytes, again.out_bytes)
        self.assertGreater(len(first.out_bytes), 1)

    def test_seed_decides(self):
        def draw(seed):
            return self.onebit("run", tiny(), "-p", "abc", "-n", "30", "--seed", seed,
                               "--ignore-eos", "--json").json()["tokens"]
        self.assertEqual(draw(7), draw(7))
        self.assertNotEqual(draw(7), draw(8))

    def test_json(self):
        said = self.onebit("run", tiny(), "-p", "abc", "-n", "5", "--ignore-eos", "--temp", "0",
                           "-s", "3", "--json").json()
        self.assertEqual((said["prompt_tokens"], said["generated_tokens"], len(said["tokens"])),
                         (3, 5, 5))
        self.assertEqual((said["seed"], said["finish_reason"]), (3, "length"))
        self.assertEqual(said["model"], str(tiny()))

    def test_nothing_to_generate(self):
        self.assertEqual(self.onebit("run", tiny(), "-p", "abc", "-n", "0").out, "\n")

    def test_until_the_context_is_full(self):
        full = self.onebit("run", tiny(), "-p", "abc", "-n", "-1", "-c", "16", "--ignore-eos",
                           "--json")
        # A cache of 16 holds the prompt and 13 tokens; the logits after it give one more.
        said = full.json()
        self.assertEqual((said["generated_tokens"], said["finish_reason"]), (14, "length"))
        self.assertIn("onebit: warning: the context of 16 tokens is full: the text ends here (see "
                      "--ctx-size)\n", full.err)

    @needs(STORIES)
    def test_stop(self):
        said = self.onebit("run", STORIES, *STORY, "--stop", "boy", "--stop", "girl",
                           "--json").json()
        self.assertEqual(said["finish_reason"], "stop")
        self.assertNotIn("girl", said["text"])

    def test_statistics_are_on_stderr(self):
        result = self.onebit("run", tiny(), "-p", "abc", "-n", "3", "--temp", "0")
        self.assertRegex(result.err, r"\Aprompt: 3 tokens, [\d.]+ tokens/s; generation: \d tokens, "
                                     r"[\d.]+ tokens/s\n\Z")

    def test_packed_model(self):
        for form in ("paper", "foldable"):
            for activations in ("f32", "i8"):
                self.onebit("run", packed(tiny(), "--form", form), "-p", "abc", "-n", "5",
                            "--activations", activations)

    def test_kinds_of_keys_and_values(self):
        for kind in ("f32", "f16", "q8_0"):
            self.onebit("run", tiny(), "-p", "abc", "-n", "5", "--kv-type", kind)
        self.fails("run", tiny(), "-p", "abc", "--kv-type", "q4_0", expect=2,
                   says=["--kv-type", "q4_0", "f32, f16, q8_0"])

    @needs(STORIES)
    def test_story(self):
        for model in (STORIES, STORIES_FOLDER):
            text = self.onebit("run", model, *STORY).out
            self.assertTrue(text.startswith(", there was a little girl named Lily."), text)

    @needs(STORIES)
    def test_every_instruction_set_tells_the_same_story(self):
        sets = self.onebit("info", STORIES, "--json").json()["available_kernels"]
        for model in (STORIES, packed(STORIES)):
            stories = {self.onebit("run", model, *STORY, env={"ONEBIT_ISA": isa}).out
                       for isa in ["", *sets]}
            self.assertEqual(len(stories), 1, stories)

    @needs(SMOLLM)
    def test_real_model(self):
        result = self.onebit("run", SMOLLM, "-p", "The capital of France is", "-n", "4", "--temp",
                             "0")
        self.assertIn("Paris", result.out)


class Failures(CliTest):
    def test_prompt_longer_than_the_context(self):
        self.fails("run", tiny(), "-p", "x" * 40, "-c", "32",
                   says=["40 tokens", "at most the 32", "context"])

    def test_empty_prompt(self):
        self.fails("run", tiny(), "-p", "", expect=2, says="--prompt")

    def test_empty_stop(self):
        self.fails("run", tiny(), "-p", "x", "--stop", "", expect=2, says="--stop")

    def test_system_message_without_chat(self):
        self.fails("run", tiny(), "-p", "x", "--system", "Be brief.", expect=2,
                   says=["--system", "--chat"])

    def test_context_beyond_all_memory(self):
        for more in (["-p", "x"], []):
            self.fails("run", tiny(), *more, "-c", 2 ** 40, "--log-level", "error",
                       says=["cache of 1099511627776 tokens", "no memory", "--ctx-size"])

    def test_other_device(self):
        self.fails("run", tiny(), "-p", "x", "--device", "cuda", says=["cuda", "cpu"])

    def test_chat_without_template(self):
        (self.dir / "m").mkdir()
        for path in tiny().iterdir():
            if path.name != "tokenizer_config.json":
                self.write(f"m/{path.name}", path.read_bytes())
        self.fails("run", self.dir / "m", says=["chat template", "-p"])
        self.fails("run", self.dir / "m", "--chat", "-p", "x", says="chat template")

    def test_broken_template(self):
        (self.dir / "m").mkdir()
        for path in tiny().iterdir():
            text = path.read_bytes().replace(b"{% endfor %}", b"{% endofr %}")
            self.write(f"m/{path.name}", text)
        self.fails("run", self.dir / "m", says="endofr")

    def test_model_without_tokenizer(self):
        (self.dir / "m").mkdir()
        for name in ("config.json", "model.safetensors"):
            self.write(f"m/{name}", (tiny() / name).read_bytes())
        self.fails("run", self.dir / "m", "-p", "x", says=["tokenizer", str(self.dir / "m")])


class Chat(CliTest):
    """From a pipe: a line is a message, the end of input ends the chat."""
    GREEDY = ("--temp", "0", "-n", "6", "--ignore-eos")

    def test_turns(self):
        said = self.onebit("run", tiny(), *self.GREEDY, "--json", stdin=b"hello\n\nagain").json()
        roles = [message["role"] for message in said["messages"]]
        self.assertEqual(roles, ["user", "assistant"] * 2)
        self.assertEqual([m["content"] for m in said["messages"][::2]], ["hello", "again"])
        self.assertEqual(said["generated_tokens"], 12)

    def test_first_turn_is_the_templates_completion(self):
        chat = self.onebit("run", tiny(), *self.GREEDY, stdin=b"hello\n")
        prompt = self.onebit("run", tiny(), *self.GREEDY, "-p", "<|user|>hello<|assistant|>")
        wrapped = self.onebit("run", tiny(), *self.GREEDY, "--chat", "-p", "hello")
        self.assertEqual(chat.out_bytes, prompt.out_bytes)
        self.assertEqual(chat.out_bytes, wrapped.out_bytes)

    def test_reset_forgets(self):
        said = self.onebit("run", tiny(), *self.GREEDY, "--json",
                           stdin=b"one\ntwo\n/reset\none\n").json()
        alone = self.onebit("run", tiny(), *self.GREEDY, "--json", stdin=b"one\n").json()
        self.assertEqual(said["messages"], alone["messages"])

    def test_commands(self):
        result = self.onebit("run", tiny(), *self.GREEDY, stdin=b"/help\n/frob\n/exit\nnot read\n")
        self.assertEqual(result.out, "")
        self.assertIn("/reset forgets it", result.err)
        self.assertIn("unknown command /frob", result.err)

    def test_empty_input(self):
        self.assertEqual(self.onebit("run", tiny(), stdin=b"").out, "")

    def test_system_message(self):
        said = self.onebit("run", tiny(), *self.GREEDY, "--system", "Be brief.", "--json",
                           stdin=b"hello\n").json()
        self.assertEqual(said["messages"][0], {"role": "system", "content": "Be brief."})

    def test_message_longer_than_the_context(self):
        self.fails("run", tiny(), *self.GREEDY, "-c", "32", stdin=b"x" * 60 + b"\n",
                   says=["tokens", "context of 32"])

    def test_message_longer_than_the_context_changes_nothing(self):
        """At a terminal, where the chat goes on after it."""
        ours, its = pty.openpty()
        self.addCleanup(os.close, ours)
        lines = b"one\ntwo\n" + b"x" * 90 + b"\nthree\n/exit\n"
        os.write(ours, lines)
        try:
            done = subprocess.run([ONEBIT, "run", tiny(), *self.GREEDY, "-c", "80", "--json"],
                                  stdin=its, capture_output=True, timeout=600, check=True)
        finally:
            os.close(its)
        self.assertIn(b"onebit: error: prompt: found", done.stderr)
        self.assertNotIn(b"forgotten", done.stderr)
        said = json.loads(done.stdout)["messages"]
        self.assertEqual([m["content"] for m in said[::2]], ["one", "two", "three"])
        alone = self.onebit("run", tiny(), *self.GREEDY, "-c", "80", "--json",
                            stdin=b"one\ntwo\nthree\n").json()
        self.assertEqual(said, alone["messages"])

    def test_oldest_exchange_is_forgotten(self):
        result = self.onebit("run", tiny(), *self.GREEDY, "-c", "32", stdin=b"0123456789\n" * 3)
        self.assertIn("oldest exchange is forgotten", result.err)

    def test_interrupt_while_waiting(self):
        with subprocess.Popen([ONEBIT, "run", tiny(), *self.GREEDY], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
            child.stdin.write(b"hello\n")
            child.stdin.flush()
            child.stdout.read(1)  # it answers, so it runs
            child.send_signal(signal.SIGINT)
            self.assertEqual(child.wait(60), 130)

    @needs(SMOLLM)
    def test_kept_cache_changes_nothing(self):
        """The second turn runs only what is new; the conversation in one piece gives the same. The
        template is written out here, from the model's description."""
        questions = ["What is the capital of France?", "And of Italy?"]
        greedy = ("--temp", "0", "-n", "12", "-t", "2")
        said = self.onebit("run", SMOLLM, *greedy, "--system", "Be brief.", "--json",
                           stdin="\n".join(questions).encode()).json()["messages"]
        self.assertIn("Paris", said[2]["content"])
        whole = "<|im_start|>system\nBe brief.<|im_end|>\n"
        for message in said[1:4]:
            whole += f"<|im_start|>{message['role']}\n{message['content']}<|im_end|>\n"
        whole += "<|im_start|>assistant\n"
        again = self.onebit("run", SMOLLM, *greedy, "-p", whole, "--json").json()
        self.assertEqual(again["text"], said[4]["content"])


if __name__ == "__main__":
    unittest.main()

"""`onebit distill` as several processes: it learns what one process with the whole batch learns, and
when one is lost or cannot begin, every other one ends with one line."""
import json
import os
import signal
import socket
import subprocess
import time
import unittest

from harness import ONEBIT, TOOLKIT, CliTest, needs, tiny

SETTINGS = ["--length", "32", "--threads", "1", "--block-steps", "2", "--block-segments", "8", "--held-out", "0.2"]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@needs(TOOLKIT)
class Processes(CliTest):
    def setUp(self):
        super().setUp()
        rows = [json.dumps({"text": f"line {i} of a text that says {i * i} and little else. " * 4})
                for i in range(40)]
        self.data = self.write("data.jsonl", "\n".join(rows) + "\n")
        self.folder = self.dir / "run"

    def words(self, *flags):
        return ["distill", str(tiny()), "-o", str(self.folder), "--data", str(self.data), *SETTINGS, *flags]

    def start(self, rank, port, *flags, size=2, names=("RANK", "WORLD_SIZE", "LOCAL_RANK")):
        place = dict(zip(names, (rank, size, rank)))
        env = {**os.environ, **{key: str(value) for key, value in place.items()}, "MASTER_ADDR": "127.0.0.1",
               "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"}
        return subprocess.Popen([str(ONEBIT), *self.words(*flags)], env=env, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True)

    def both(self, *flags, **more):
        """Runs two processes to their ends: each one's exit code, stdout and stderr."""
        port = free_port()
        processes = [self.start(rank, port, *flags, **more) for rank in range(2)]
        results = [(*process.communicate(timeout=300), process.returncode) for process in processes]
        return [(code, out, err) for out, err, code in results]

    def metrics(self):
        return [json.loads(line) for line in (self.folder / "metrics.jsonl").read_text().splitlines()]

    def test_they_learn_what_one_does(self):
        flags = ["--steps", "20", "--accumulate", "2", "--eval-every", "7"]
        for form in ("free", "foldable"):
            self.folder = self.dir / f"one-{form}"
            self.onebit(*self.words(*flags, "--form", form, "--batch", "4", "--block-batch", "2"))
            one = self.metrics()
            self.folder = self.dir / f"two-{form}"
            results = self.both(*flags, "--form", form, "--batch", "2", "--block-batch", "1", "--json")
            self.assertEqual([code for code, _, _ in results], [0, 0], results)
            self.assertEqual(json.loads(results[0][1])["tokens"], 20 * 8 * 32)
            self.assertEqual(results[1][1:], ("", ""))  # one voice is enough
            two = self.metrics()
            self.assertEqual([r["step"] for r in one], [r["step"] for r in two])
            for a, b in zip(one, two):
                for key in ("loss", "held_out_kl", "block_error"):
                    if key in a:
                        self.assertAlmostEqual(a[key], b[key], delta=1e-5 * max(1, abs(a[key])), msg=(key, a, b))

    def test_they_are_resumed_together(self):
        flags = ["--steps", "8", "--batch", "2", "--save-every", "3"]
        self.assertEqual([r[0] for r in self.both(*flags)], [0, 0])
        whole = (self.folder / "state.safetensors").read_bytes()
        self.folder = self.dir / "broken"
        port = free_port()
        processes = [self.start(rank, port, *flags[:-2], "--save-every", "3") for rank in range(2)]
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and processes[0].poll() is None:
            file = self.folder / "metrics.jsonl"
            if file.exists() and '"loss"' in file.read_text():
                break
            time.sleep(0.01)
        processes[1].send_signal(signal.SIGINT)  # one is told, both stop
        errors = [process.communicate(timeout=120)[1] for process in processes]
        if processes[0].returncode == 0:
            self.skipTest("the run ended before the signal came")
        self.assertEqual([p.returncode for p in processes], [130, 130], errors)
        self.fails(*self.words("--resume", "--log-level", "error"), says=["2 processes", "found 1 now"])
        self.assertEqual([r[0] for r in self.both("--resume")], [0, 0])
        self.assertEqual((self.folder / "state.safetensors").read_bytes(), whole)

    def lose_one(self, signal_number, timeout):
        """Stops or kills process 1 in the middle; what process 0 ends with, and the seconds it took."""
        port = free_port()
        processes = [self.start(rank, port, "--steps", "100000", "--batch", "2", "--save-every", "2",
                                "--timeout", str(timeout), "--log-level", "error") for rank in range(2)]
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            file = self.folder / "metrics.jsonl"
            if file.exists() and file.read_text().count('"loss"') > 3:
                break
            time.sleep(0.01)
        os.kill(processes[1].pid, signal_number)
        begin = time.monotonic()
        _, error = processes[0].communicate(timeout=120)
        seconds = time.monotonic() - begin
        processes[1].kill()
        processes[1].communicate()
        return processes[0].returncode, error, seconds

    def test_a_killed_one_ends_the_other(self):
        code, error, seconds = self.lose_one(signal.SIGKILL, timeout=60)
        self.assertEqual(code, 1)
        self.assertRegex(error, r"\Aonebit: error: process 0 of 2 [^\n]+\n\Z")
        self.assertLess(seconds, 60)
        # What was saved is whole: one process reads it and says what it is not.
        self.fails(*self.words("--resume", "--log-level", "error"), says="found 1 now")

    def test_a_silent_one_ends_the_other(self):
        code, error, _ = self.lose_one(signal.SIGSTOP, timeout=3)
        self.assertEqual(code, 1)
        self.assertRegex(error, r"\Aonebit: error: process 0 of 2 [^\n]+took too long[^\n]+\n\Z")

    def test_what_the_first_cannot_do_ends_all(self):
        self.data = self.write("empty.jsonl", "")
        results = self.both("--steps", "2")
        self.assertEqual([code for code, _, _ in results], [1, 1])
        self.assertIn("empty.jsonl", results[0][2])
        self.assertIn("process 1 of 2", results[1][2])

    def test_other_launchers(self):
        for names in (("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"),
                      ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID")):
            self.folder = self.dir / names[0]
            self.assertEqual([r[0] for r in self.both("--steps", "1", names=names)], [0, 0])

    def test_an_environment_that_says_too_little(self):
        place = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
        for change, says in (({"WORLD_SIZE": None}, "WORLD_SIZE: found none"),
                             ({"RANK": None}, "RANK: found none"),
                             ({"RANK": "2"}, "RANK: found '2', expected a number from 0 to 1"),
                             ({"RANK": "one"}, "RANK: found 'one'"),
                             ({"WORLD_SIZE": "0"}, "WORLD_SIZE: found '0'"),
                             ({"MASTER_ADDR": None}, "MASTER_ADDR: found none"),
                             ({"MASTER_PORT": "66000"}, "MASTER_PORT: found '66000'"),
                             ({"LOCAL_RANK": "-1"}, "LOCAL_RANK: found '-1'")):
            env = {key: value for key, value in {**place, **change}.items() if value is not None}
            self.fails(*self.words("--steps", "1"), env=env, expect=2, says=says)
        # Nobody answers.
        self.fails(*self.words("--steps", "1", "--timeout", "1"), env={**place, "MASTER_PORT": str(free_port())},
                   says=["process 1 of 2", "meeting"])
        # A container's environment may know the size alone.
        self.onebit(*self.words("--steps", "1"), env={"WORLD_SIZE": "1"})
        self.folder = self.dir / "another"
        # A batch script of Slurm is one process, whatever its allocation.
        self.onebit(*self.words("--steps", "1"), env={"SLURM_PROCID": "0", "SLURM_NTASKS": "4"})


if __name__ == "__main__":
    unittest.main()

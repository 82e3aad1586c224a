"""What the acceptance scripts share: where things are, and one line a figure.

A module for the scripts beside it. They import it from the end of sys.path: a script of this folder
may bear the name of a package that another one needs.

    POINT | figure | value | bound | pass       (or FAIL; `-` for a figure without a bound)
"""
import json
import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / os.environ.get("BUILD", "build/dev")
ONEBIT = BUILD / "bin/onebit"
SMOLLM2 = ROOT / ".deps/models/smollm2-135m-instruct.gguf"
DATA = ROOT / "../shared/data"
WIKITEXT = DATA / "wikitext2/wiki.test.raw"
STORIES260K = DATA / "models/stories260k/stories260K.bin"


def forget_settings():
    """Of what this process starts: what accept.sh sets for the reference software. It costs libtorch's
    threads a fifth, and hides a test's own modules."""
    for name in ("PYTHONSAFEPATH", "OMP_WAIT_POLICY", "MALLOC_MMAP_MAX_", "MALLOC_TRIM_THRESHOLD_"):
        os.environ.pop(name, None)


class Report:
    """Prints the figures of one point and knows whether all bounds held."""

    def __init__(self, point):
        self.point = point
        self.failed = False

    def check(self, figure, value, bound, held):
        self._line(figure, value, bound, "pass" if held else "FAIL")
        self.failed |= not held

    def note(self, figure, value, remark="-"):
        self._line(figure, value, remark, "-")

    def exit_status(self):
        return 1 if self.failed else 0

    def _line(self, figure, value, bound, verdict):
        print(f"{self.point:<10} | {figure:<52} | {value:>12} | {bound:<20} | {verdict}", flush=True)


def run_json(*arguments, program=ONEBIT, **environment):
    """The JSON object that ends a command's output; its messages go to our standard error."""
    done = subprocess.run([program, *map(str, arguments), "--json"], check=True,
                          stdout=subprocess.PIPE, text=True, env=os.environ | environment)
    return json.loads(done.stdout.strip().splitlines()[-1])


def llama_cpp_tool(*arguments):
    """The tool of llama.cpp that build_llama_cpp.sh builds for these arguments."""
    builder = ROOT / "tools/accept/build_llama_cpp.sh"
    done = subprocess.run([builder, *arguments], check=True, stdout=subprocess.PIPE, text=True)
    return ROOT / done.stdout.strip()


def test_properties(program, pattern):
    """What the GoogleTest cases that match `pattern` recorded: {case: {"result": "pass", name: text}}.

    A case that failed or was skipped has that as its "result".
    """
    report = BUILD / f"{program}_properties.json"
    subprocess.run([BUILD / "bin" / program, f"--gtest_filter={pattern}", f"--gtest_output=json:{report}"],
                   stdout=subprocess.DEVNULL, check=False)
    cases = {}
    for suite in json.loads(report.read_text())["testsuites"]:
        for case in suite["testsuite"]:
            result = "skipped" if case["result"] == "SKIPPED" else "pass"
            cases[case["name"]] = case | {"result": "failed" if "failures" in case else result}
    return cases

